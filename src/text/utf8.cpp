#include "text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace cachalot {
namespace {

// What a first byte promises. The range of the second byte is what excludes overlong forms, surrogates and
// values above U+10FFFF; third and fourth bytes are always 80..BF.
struct Lead {
    std::size_t length;  // 0: no character begins with this byte
    unsigned char low, high;
};

Lead lead_of(unsigned char byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

unsigned char byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

// Bytes at the start of `text` that are ASCII, counted in steps of eight.
std::size_t ascii_prefix(std::string_view text) {
    std::size_t n = 0;
    for (; n + 8 <= text.size(); n += 8) {
        std::uint64_t word;
        std::memcpy(&word, text.data() + n, 8);
        if (word & 0x8080808080808080u) break;
    }
    return n;
}

}  // namespace

Utf8Char decode_utf8(std::string_view text) {
    const unsigned char first = byte_at(text, 0);
    const Lead lead = lead_of(first);
    if (lead.length == 0) return {kReplacementCharacter, 1, false};
    if (lead.length == 1) return {first, 1, true};
    char32_t code_point = first & (0x7Fu >> lead.length);
    for (std::size_t i = 1; i < lead.length; ++i) {
        const unsigned char low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
        if (i == text.size() || byte_at(text, i) < low || byte_at(text, i) > high)
            return {kReplacementCharacter, i, false};
        code_point = code_point << 6 | (byte_at(text, i) & 0x3Fu);
    }
    return {code_point, lead.length, true};
}

std::size_t valid_utf8_prefix(std::string_view text) {
    std::size_t n = 0;
    while (true) {
        n += ascii_prefix(text.substr(n));
        if (n == text.size()) return n;
        const Utf8Char c = decode_utf8(text.substr(n));
        if (!c.valid) return n;
        n += c.length;
    }
}

std::string repair_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (true) {
        const std::size_t n = valid_utf8_prefix(text);
        out.append(text.substr(0, n));
        text.remove_prefix(n);
        if (text.empty()) return out;
        append_utf8(out, kReplacementCharacter);
        text.remove_prefix(decode_utf8(text).length);
    }
}

std::size_t incomplete_utf8_suffix(std::string_view text) {
    for (std::size_t n = 1; n <= std::min<std::size_t>(3, text.size()); ++n) {
        const std::string_view suffix = text.substr(text.size() - n);
        const unsigned char byte = byte_at(suffix, 0);
        if (byte < 0x80) return 0;
        if (byte < 0xC0) continue;  // inside a character: look further back for its first byte
        return lead_of(byte).length > n && decode_utf8(suffix).length == n ? n : 0;
    }
    return 0;
}

void append_utf8(std::string& out, char32_t c) {
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = kReplacementCharacter;
    const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
        return;
    }
    if (c < 0x800) {
        put(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            put(0xE0 | c >> 12);
        } else {
            put(0xF0 | c >> 18);
            put(0x80 | (c >> 12 & 0x3F));
        }
        put(0x80 | (c >> 6 & 0x3F));
    }
    put(0x80 | (c & 0x3F));
}

}  // namespace cachalot
