// GPT-2's byte alphabet: one printable character for each byte, so that vocabularies of arbitrary bytes can
// be kept as text. Bytes that are printable Latin-1 stand for themselves; the other 68 are U+0100, U+0101,
// ... in order of value (a space is U+0120, "Ġ").
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cachalot {

std::string to_byte_alphabet(std::string_view bytes);

// Nothing if `text` has a character that is not in the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace cachalot
