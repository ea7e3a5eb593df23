// Sets of characters (Unicode code points but surrogates), as sorted ranges.
#pragma once

#include <compare>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

namespace cachalot::grammar {

struct CharRange {
    char32_t low, high;  // both belong to it
    auto operator<=>(const CharRange&) const = default;
};

class CharSet {
  public:
    CharSet() = default;
    CharSet(std::initializer_list<CharRange> ranges);
    static CharSet all();
    static CharSet of(char32_t c) { return {{c, c}}; }

    void add(char32_t low, char32_t high);
    void add(const CharSet& other);

    CharSet inverted() const;
    CharSet both(const CharSet& other) const;
    CharSet without(const CharSet& other) const { return both(other.inverted()); }
    // With the other case of letters a to z and A to Z.
    CharSet any_case() const;

    bool has(char32_t c) const;
    bool empty() const { return ranges().empty(); }
    // Sorted, not touching, without surrogates.
    const std::vector<CharRange>& ranges() const;
    bool operator==(const CharSet& other) const { return ranges() == other.ranges(); }

  private:
    mutable std::vector<CharRange> ranges_;
    mutable bool sorted_ = true;
};

// The characters of a general category as Unicode's files call it ("L", "Lu", "Nd"), by a short or a long
// name.
std::optional<CharSet> unicode_category(std::string_view name);

}  // namespace cachalot::grammar
