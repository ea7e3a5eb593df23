// Finds stop strings in text that arrives in pieces.
//
// Problem: tokens end anywhere, so a stop string may begin in one piece and end three pieces later. Text that
// could be the beginning of one must not be shown yet, and everything else should be shown at once.
//
// For each stop string the matcher keeps the length of its longest prefix that the text so far ends with,
// advanced byte by byte as in Knuth, Morris and Pratt. The longest of these lengths is exactly what has to be
// held back. Since the state depends on the bytes alone, how the text was cut into pieces cannot change the
// result.
//
// The first stop string to be completed wins; of several completed by the same byte, the one that began
// first. The text ends before it. If pieces and stop strings are whole UTF-8 characters, then so is all
// released text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

inline constexpr std::size_t kMaxStopStrings = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;

class StopMatcher {
  public:
    StopMatcher() = default;  // never matches, holds nothing back

    // Throws Error if there are too many stop strings or one is empty or too long.
    explicit StopMatcher(const std::vector<std::string>& stops);

    struct Result {
        std::string text;      // may be shown now
        bool matched = false;  // a stop string was completed: this is the end of the text
    };

    // After a match, further text is dropped.
    Result push(std::string_view text);

    // The text has ended otherwise: what was held back, which began no stop string after all.
    std::string finish();

    // The stop string that was found, or nothing.
    const std::string& matched() const { return matched_; }

  private:
    struct Pattern {
        std::string text;
        std::vector<std::size_t> border;  // [i]: the longest proper prefix of text that ends text[0..i]
        std::size_t length = 0;           // of the prefix matched so far

        explicit Pattern(std::string stop);
        bool advance(char c);  // true when complete
        std::size_t extend(std::size_t prefix, char c) const;
    };

    std::vector<Pattern> patterns_;
    std::string held_;
    std::string matched_;
};

}  // namespace cachalot
