// Text from a file, made fit for a message: in quotes, control characters escaped, cut to a sane length.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace cachalot {

inline std::string in_quotes(std::string_view text, std::size_t max_length = 120) {
    std::string result = "'";
    for (char c : text.substr(0, max_length)) {
        const auto code = static_cast<unsigned char>(c);
        if (code < 0x20 || code == 0x7f)
            result += fmt::format("\\x{:02x}", code);
        else
            result += c;
    }
    return result + (text.size() > max_length ? "...'" : "'");
}

}  // namespace cachalot
