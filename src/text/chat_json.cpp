#include "text/chat_json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

void append_value(std::string& out, const ordered_json& value, int depth) {
    if (depth > kMaxJsonDepth) fail("JSON is nested deeper than {} levels", kMaxJsonDepth);
    switch (value.type()) {
        case ordered_json::value_t::object: {
            out += '{';
            const char* separator = "";
            for (const auto& [key, member] : value.items()) {
                out += std::exchange(separator, ", ");
                out += json_string(key) + ": ";
                append_value(out, member, depth + 1);
            }
            out += '}';
            break;
        }
        case ordered_json::value_t::array: {
            out += '[';
            const char* separator = "";
            for (const ordered_json& element : value) {
                out += std::exchange(separator, ", ");
                append_value(out, element, depth + 1);
            }
            out += ']';
            break;
        }
        case ordered_json::value_t::string: out += json_string(value.get_ref<const std::string&>()); break;
        case ordered_json::value_t::boolean: out += value.get<bool>() ? "true" : "false"; break;
        case ordered_json::value_t::number_integer: out += fmt::to_string(value.get<std::int64_t>()); break;
        case ordered_json::value_t::number_unsigned: out += fmt::to_string(value.get<std::uint64_t>()); break;
        case ordered_json::value_t::number_float: out += python_float(value.get<double>()); break;
        default: out += "null";
    }
}

}  // namespace

std::string python_json(const ordered_json& value) {
    std::string out;
    append_value(out, value, 0);
    return out;
}

void append_json_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            case '\b': out += "\\b"; break;
            case '\f': out += "\\f"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20) {
                    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
                } else {
                    out += c;
                }
        }
    }
}

std::string json_string(std::string_view text) {
    std::string out = "\"";
    append_json_escaped(out, text);
    return out += '"';
}

// The shortest digits that read back as `value`, with an exponent below 1e-4 and from 1e16 on.
std::string python_float(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    std::array<char, 64> buffer;
    const double magnitude = std::abs(value);
    const bool scientific = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
    const auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
    CACHALOT_CHECK(error == std::errc());
    std::string text(buffer.data(), end);
    if (!scientific && text.find('.') == std::string::npos) text += ".0";
    return text;
}

}  // namespace cachalot
