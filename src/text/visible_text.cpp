#include "text/visible_text.h"

#include <fmt/format.h>

#include "text/utf8.h"

namespace cachalot {
namespace {

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

bool overrides_direction(char32_t c) { return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069); }

std::string visible(std::string_view text, bool lines) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const Utf8Char c = decode_utf8(text);
        const auto bytes = text.substr(0, c.length);
        const bool layout = lines && (c.code_point == '\n' || c.code_point == '\t');
        if (!c.valid)
            for (unsigned char byte : bytes) out += fmt::format("\\x{:02x}", byte);
        else if (!layout && (is_control(c.code_point) || overrides_direction(c.code_point)))
            out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c.code_point));
        else
            out += bytes;
        text.remove_prefix(c.length);
    }
    return out;
}

}  // namespace

std::string visible_text(std::string_view text) { return visible(text, true); }
std::string visible_line(std::string_view text) { return visible(text, false); }

}  // namespace cachalot
