// Reading byte strings that ought to be UTF-8 but may be anything: user input, halves of characters, model
// output.
//
// "Valid" is the Unicode standard's well-formed UTF-8: no overlong forms, no surrogates, nothing above
// U+10FFFF. An invalid stretch is cut into maximal subparts (the longest prefixes of well-formed sequences,
// else single bytes), each of which stands for one U+FFFD: the rule of the WHATWG decoder, so browsers show
// the same text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cachalot {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct Utf8Char {
    char32_t code_point;  // U+FFFD if invalid
    std::size_t length;   // bytes of the character, or of the maximal subpart if invalid; at least 1
    bool valid;
};

// The first character of `text`, which must not be empty.
Utf8Char decode_utf8(std::string_view text);

// Bytes of the longest valid prefix.
std::size_t valid_utf8_prefix(std::string_view text);

inline bool is_valid_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

// `text` with every invalid maximal subpart replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

// Bytes (0 to 3) at the end of `text` that begin a character which more bytes could complete.
std::size_t incomplete_utf8_suffix(std::string_view text);

// Appends the encoding of a scalar value; anything else is appended as U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace cachalot
