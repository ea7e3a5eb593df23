#include "text/json_fit.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "text/loose_json.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: doubles below hold every integer

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

std::optional<ordered_json> parsed(std::string_view text) {
    try {
        return parse_json(text, "value");
    } catch (const Error&) {
        return std::nullopt;
    }
}

// `text` read as one of the types; nothing if it is none of them.
std::optional<ordered_json> read_as(std::string_view text, JsonTypes types) {
    text = trim(text);
    if (types.has(JsonTypes::boolean)) {
        if (text == "true" || text == "True") return true;
        if (text == "false" || text == "False") return false;
    }
    if (types.has(JsonTypes::null) && (text == "null" || text == "None")) return nullptr;
    const bool structure = text.starts_with('{') || text.starts_with('[');
    std::optional<std::string> json = structure ? mend_json(text) : std::string(text);
    std::optional<ordered_json> value = json ? parsed(*json) : std::nullopt;
    if (!value || value->is_string()) return std::nullopt;
    const JsonTypes::Type type = json_type(*value);
    if (types.has(type)) return value;
    const double number = value->is_number() ? value->get<double>() : 0.5;
    if (types.has(JsonTypes::integer) && std::abs(number) < kExactIntegers && number == std::floor(number))
        return static_cast<std::int64_t>(number);
    return std::nullopt;
}

// Makes the value fit, and says whether that changed it.
bool fit(ordered_json& value, const SchemaNode& schema, int depth) {
    if (depth > kMaxJsonDepth) return false;
    const JsonTypes types = schema.types;
    bool changed = false;
    if (!types.has(json_type(value))) {
        std::optional<ordered_json> other;
        if (value.is_string()) {
            other = read_as(value.get_ref<const std::string&>(), types);
        } else if (types.has(JsonTypes::boolean) && (value == 0 || value == 1)) {
            other = value == 1;
        } else if (value.is_number_float() && types.has(JsonTypes::integer)) {
            other = read_as(value.dump(), types);
        } else if (types.has(JsonTypes::string) && !value.is_null()) {
            other = python_json(value);
        }
        if (!other) return false;
        value = std::move(*other);
        changed = true;
    }
    if (value.is_array() && schema.items)
        for (ordered_json& item : value) changed |= fit(item, *schema.items, depth + 1);
    if (value.is_object())
        for (auto& [key, member] : value.items()) changed |= fit(member, schema.member(key), depth + 1);
    return changed;
}

}  // namespace

std::string fit_json(const ToolArgument& argument, const SchemaNode& schema, bool* changed) {
    const JsonTypes types = schema.types;
    std::string as_it_is = argument.is_string ? json_string(argument.value) : argument.value;
    if (argument.is_string && types.has(JsonTypes::string)) return as_it_is;
    std::optional<ordered_json> value =
        argument.is_string ? ordered_json(argument.value) : parsed(argument.value);
    if (!value) return as_it_is;
    // As a string the value keeps the spelling that it has: 1.50 is "1.50".
    const bool wants_text =
        !types.has(json_type(*value)) && types.has(JsonTypes::string) && !value->is_null();
    if (wants_text && !argument.is_string && !read_as(argument.value, types)) {
        if (changed) *changed = true;
        return json_string(trim(argument.value));
    }
    if (!fit(*value, schema, 0)) return as_it_is;
    if (changed) *changed = true;
    return python_json(*value);
}

}  // namespace cachalot
