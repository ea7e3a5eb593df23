#include "text/chat_json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

// Comparisons of keys that reading one text may cost: a fraction of a second. 6,000 keys in one object pass.
constexpr std::size_t kMaxKeyComparisons = 20'000'000;

// The code unit of the escape \uXXXX at `at`, if there is one.
std::optional<unsigned> unicode_escape(std::string_view text, std::size_t at) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
    unsigned unit = 0;
    const char* end = text.data() + at + 6;
    const auto [stop, error] = std::from_chars(text.data() + at + 2, end, unit, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
    return unit;
}

bool is_high_surrogate(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low_surrogate(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

// The JSON text with the escapes of unpaired surrogates replaced by \ufffd. nlohmann-json refuses them, and
// with them the whole request; in valid JSON a backslash occurs in strings only, so no more than this need be
// understood.
std::string replace_lone_surrogates(std::string_view text) {
    std::string out(text);
    for (std::size_t at = out.find('\\'); at != std::string::npos; at = out.find('\\', at)) {
        const std::optional<unsigned> unit = unicode_escape(out, at);
        if (!unit) {
            at += 2;
            continue;
        }
        if (is_high_surrogate(*unit)) {
            const std::optional<unsigned> next = unicode_escape(out, at + 6);
            if (next && is_low_surrogate(*next)) {
                at += 12;
                continue;
            }
        }
        if (is_high_surrogate(*unit) || is_low_surrogate(*unit)) out.replace(at, 6, "\\ufffd");
        at += 6;
    }
    return out;
}

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

// Rewrites the JSON text of an object as it is read, without a tree: each frame collects the finished texts
// of its members. So no recursion, no quadratic search for keys, and numbers keep the digits that a double
// would lose.
class ArgumentReader : public nlohmann::json_sax<ordered_json> {
  public:
    std::vector<ToolArgument> take() { return std::move(result_); }

    bool null() override { return add("null"); }
    bool boolean(bool value) override { return add(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return add(fmt::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return add(fmt::to_string(value)); }
    bool number_float(number_float_t value, const string_t& digits) override {
        const bool integer = digits.find_first_of(".eE") == std::string::npos;
        return add(integer ? digits : python_float(value));
    }
    bool string(string_t& value) override {
        return frames_.size() == 1 ? add(std::move(value), true) : add(json_string(value));
    }
    bool binary(binary_t& /*value*/) override { return false; }
    bool start_object(std::size_t /*size*/) override { return open(true); }
    bool start_array(std::size_t /*size*/) override { return open(false); }
    bool key(string_t& name) override {
        frames_.back().key = std::move(name);
        return true;
    }
    bool end_object() override {
        Frame frame = std::move(frames_.back());
        frames_.pop_back();
        if (frames_.empty()) {
            result_ = std::move(frame.items);
            return true;
        }
        std::string text = "{";
        for (const ToolArgument& item : frame.items) {
            if (text.size() > 1) text += ", ";
            text += json_string(item.name) + ": " + item.value;
        }
        return add(text + "}");
    }
    bool end_array() override {
        const Frame frame = std::move(frames_.back());
        frames_.pop_back();
        std::string text = "[";
        for (const ToolArgument& item : frame.items) {
            if (text.size() > 1) text += ", ";
            text += item.value;
        }
        return add(text + "]");
    }
    bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                     const nlohmann::detail::exception& /*error*/) override {
        return false;
    }

  private:
    struct Frame {
        bool object;
        std::string key;
        std::vector<ToolArgument> items;  // an array's have no names
        std::unordered_map<std::string, std::size_t> index;
    };

    bool open(bool object) {
        if (frames_.empty() && !object) return false;
        if (frames_.size() >= kMaxJsonDepth) return false;
        frames_.push_back({object, {}, {}, {}});
        return true;
    }

    bool add(std::string value, bool is_string = false) {
        if (frames_.empty()) return false;  // the arguments are not an object
        Frame& frame = frames_.back();
        if (frame.object) {
            const auto [found, fresh] = frame.index.try_emplace(frame.key, frame.items.size());
            if (!fresh) {
                frame.items[found->second].is_string = is_string;
                frame.items[found->second].value = std::move(value);
                return true;
            }
        }
        frame.items.push_back({std::move(frame.key), is_string, std::move(value)});
        return true;
    }

    std::vector<Frame> frames_;
    std::vector<ToolArgument> result_;
};

}  // namespace

ordered_json parse_json(std::string_view text, std::string_view what) {
    std::vector<std::size_t> keys;  // seen so far in each open object
    std::size_t comparisons = 0;
    const auto check = [&](int depth, ordered_json::parse_event_t event, ordered_json& /*parsed*/) {
        using Event = ordered_json::parse_event_t;
        if (event == Event::object_start || event == Event::array_start) {
            if (depth >= kMaxJsonDepth) fail("{}: JSON is nested deeper than {} levels", what, kMaxJsonDepth);
            keys.push_back(0);
        } else if (event == Event::object_end || event == Event::array_end) {
            keys.pop_back();
        } else if (event == Event::key) {
            comparisons += keys.back()++;
            if (comparisons > kMaxKeyComparisons) fail("{}: JSON objects have too many keys", what);
        }
        return true;
    };
    try {
        return ordered_json::parse(replace_lone_surrogates(text), check);
    } catch (const ordered_json::parse_error& error) {
        fail("{}: not valid JSON (at byte {})", what, error.byte);
    } catch (const ordered_json::exception&) {
        fail("{}: JSON with a number out of range", what);
    }
}

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

bool is_json(std::string_view text) { return ordered_json::accept(text); }

std::optional<std::vector<ToolArgument>> parse_tool_arguments(std::string_view json) {
    ArgumentReader reader;
    if (!ordered_json::sax_parse(replace_lone_surrogates(json), &reader)) return std::nullopt;
    return reader.take();
}

}  // namespace cachalot
