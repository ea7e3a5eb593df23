#include "text/tokenizer_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace cachalot {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr std::size_t kSubstitutes = 68;

constexpr bool stands_for_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
    std::array<char32_t, 256> character{};              // by byte
    std::array<std::int16_t, 256 + kSubstitutes> byte;  // by character; -1 if not in the alphabet
};

constexpr Alphabet make_alphabet() {
    Alphabet a;
    a.byte.fill(-1);
    char32_t substitute = kFirstSubstitute;
    for (unsigned b = 0; b < 256; ++b) {
        a.character[b] = stands_for_itself(b) ? b : substitute++;
        a.byte[a.character[b]] = static_cast<std::int16_t>(b);
    }
    return a;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) append_utf8(text, kAlphabet.character[static_cast<unsigned char>(c)]);
    return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
    std::string bytes;
    while (!text.empty()) {
        const Utf8Char c = decode_utf8(text);
        if (c.code_point >= kAlphabet.byte.size() || kAlphabet.byte[c.code_point] < 0) return std::nullopt;
        bytes.push_back(static_cast<char>(kAlphabet.byte[c.code_point]));
        text.remove_prefix(c.length);
    }
    return bytes;
}

}  // namespace cachalot
