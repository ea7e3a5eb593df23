// JSON as the prompt needs it: hostile text read with limits, values written as Python's json module writes
// them.
//
// The model was trained on prompts whose JSON came from `json.dumps(value, ensure_ascii=False)`, so a tool
// schema has to be spelled that way to the byte: ", " and ": " between items, floats as repr() has them, only
// the control characters, the quote and the backslash escaped.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// Nesting beyond which JSON from outside is refused: far above any schema, far below what the stack can bear.
inline constexpr int kMaxJsonDepth = 200;

// Parses JSON text from outside, in time linear in its length but for the sorting of an object's keys. Throws
// Error "{what}: ..." for text that is not JSON, is nested deeper than kMaxJsonDepth, or has more values or
// keys than json_limits.h allows. The last of several equal keys wins, at the place of the first. Half of a
// surrogate pair (clients cut strings between the halves) reads as U+FFFD.
nlohmann::ordered_json parse_json(std::string_view text, std::string_view what);

// json.dumps(value, ensure_ascii=False). Integers beyond 64 bits are floats here, as nlohmann-json has read
// them. Throws Error if the value is nested deeper than kMaxJsonDepth.
std::string python_json(const nlohmann::ordered_json& value);

// Appends `text` as the inside of a JSON string, without the quotes. Byte by byte: invalid UTF-8 stays as it
// is, and the escapes of two texts joined are the escapes of their concatenation.
void append_json_escaped(std::string& out, std::string_view text);

// `text` as a JSON string with its quotes.
std::string json_string(std::string_view text);

// repr(value) of a Python float: 1.0, 1e-05, 1e+16, NaN, Infinity.
std::string python_float(double value);

// Whether `text`, without the white space around it, is one JSON value.
bool is_json(std::string_view text);

// One argument of a tool call.
struct ToolArgument {
    std::string name;
    bool is_string;     // whether the value was a JSON string
    std::string value;  // the string itself, else the value's JSON as Python writes it

    bool operator==(const ToolArgument&) const = default;
};

// Reads the JSON text of a call's arguments; nothing if it is not an object, or beyond the limits of
// parse_json. As in Python the last of several equal keys wins, at the place of the first, and integers keep
// all their digits.
std::optional<std::vector<ToolArgument>> parse_tool_arguments(std::string_view json);

}  // namespace cachalot
