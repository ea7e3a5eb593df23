#include "text/tool_check.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/error.h"
#include "text/utf8.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

// What a keyword's value is, as far as it is looked at.
enum class Value {
    schema,
    schemas,
    schema_or_schemas,
    named_schemas,
    string,
    strings,
    string_or_strings,
    list
};

struct Keyword {
    std::string_view name;
    Value value;
};

constexpr std::size_t kLongestName = 100;  // bytes that are quoted of it

// Behind these may be a date or a variant: web_search_20250305, mcp_toolset.
constexpr std::string_view kProviderTypes[] = {
    "web_search",       "web_fetch",     "code_interpreter",   "code_execution",
    "image_generation", "file_search",   "tool_search",        "mcp",
    "advisor",          "google_search", "google_maps",        "url_context",
    "x_search",         "live_search",   "collections_search", "retrieval",
    "browser_search"};

constexpr Keyword kKeywords[] = {
    {"type", Value::string_or_strings},
    {"description", Value::string},
    {"title", Value::string},
    {"format", Value::string},
    {"pattern", Value::string},
    {"$ref", Value::string},
    {"enum", Value::list},
    {"required", Value::strings},
    {"properties", Value::named_schemas},
    {"patternProperties", Value::named_schemas},
    {"dependentSchemas", Value::named_schemas},
    {"$defs", Value::named_schemas},
    {"definitions", Value::named_schemas},
    {"items", Value::schema_or_schemas},
    {"prefixItems", Value::schemas},
    {"anyOf", Value::schemas},
    {"oneOf", Value::schemas},
    {"allOf", Value::schemas},
    {"not", Value::schema},
    {"if", Value::schema},
    {"then", Value::schema},
    {"else", Value::schema},
    {"contains", Value::schema},
    {"propertyNames", Value::schema},
    {"additionalProperties", Value::schema},
    {"additionalItems", Value::schema},
    {"unevaluatedProperties", Value::schema},
    {"unevaluatedItems", Value::schema},
};

// The path is put together only where there is a problem.
struct Problem {
    std::string path, expected;
    const ordered_json* found;

    Problem within(std::string_view step) && {
        path.insert(0, step);
        return std::move(*this);
    }
};
using Found = std::optional<Problem>;

Found problem_of_schema(const ordered_json& schema);

Found wrong(const ordered_json& value, std::string_view expected) {
    return Problem{{}, std::string(expected), &value};
}

Found problem_of_list(const ordered_json& list, std::string_view expected,
                      Found (*problem_of)(const ordered_json&)) {
    if (!list.is_array()) return wrong(list, expected);
    for (std::size_t i = 0; i < list.size(); ++i)
        if (Found problem = problem_of(list[i])) return std::move(*problem).within(fmt::format("[{}]", i));
    return std::nullopt;
}

Found problem_of_string(const ordered_json& value) {
    return value.is_string() ? std::nullopt : wrong(value, "a string");
}

Found problem_of_members(const ordered_json& object) {
    if (!object.is_object()) return wrong(object, "an object");
    for (const auto& [name, schema] : object.items())
        if (Found problem = schema.is_null() ? std::nullopt : problem_of_schema(schema))
            return std::move(*problem).within(
                fmt::format(".{}", std::string_view(name).substr(0, kLongestName)));
    return std::nullopt;
}

Found problem_of_value(Value kind, const ordered_json& value) {
    switch (kind) {
        case Value::schema: return problem_of_schema(value);
        case Value::schemas: return problem_of_list(value, "an array of schemas", problem_of_schema);
        case Value::schema_or_schemas:
            return problem_of_value(value.is_array() ? Value::schemas : Value::schema, value);
        case Value::named_schemas: return problem_of_members(value);
        case Value::string: return problem_of_string(value);
        case Value::strings: return problem_of_list(value, "an array of strings", problem_of_string);
        case Value::string_or_strings:
            if (value.is_string()) return std::nullopt;
            return problem_of_list(value, "a string or an array of strings", problem_of_string);
        case Value::list: return value.is_array() ? std::nullopt : wrong(value, "an array");
    }
    return std::nullopt;
}

Found problem_of_schema(const ordered_json& schema) {
    if (schema.is_boolean()) return std::nullopt;  // anything, or nothing
    if (!schema.is_object()) return wrong(schema, "a schema, which is an object");
    for (const auto& [name, value] : schema.items()) {
        const std::string_view given = name;
        const auto* const keyword = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                                 [&](const Keyword& known) { return known.name == given; });
        if (keyword == std::end(kKeywords) || value.is_null()) continue;
        if (Found problem = problem_of_value(keyword->value, value))
            return std::move(*problem).within(fmt::format(".{}", name));
    }
    return std::nullopt;
}

bool ends_a_line_or_controls(char32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

}  // namespace

std::string_view problem_of_name(std::string_view name) {
    if (name.empty()) return "must not be empty";
    while (!name.empty()) {
        const auto character = decode_utf8(name);
        if (ends_a_line_or_controls(character.code_point))
            return "must not have control characters and line ends in it: a prompt cannot hold such a name";
        if (std::u32string_view(U"\"'`<>｜").find(character.code_point) != std::u32string_view::npos)
            return "must not have quotes, '<', '>' and '｜' in it: a prompt cannot hold such a name";
        name.remove_prefix(character.length);
    }
    return {};
}

std::string problem_of_tool_name(std::string_view name) {
    static constexpr std::size_t kMaxBytes = 256;
    if (name.empty()) return "must not be empty";
    if (name.size() > kMaxBytes) return fmt::format("at most {} bytes are allowed", kMaxBytes);
    const auto is_allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_-.:/").find(c) != std::string_view::npos;
    };
    if (!std::all_of(name.begin(), name.end(), is_allowed))
        return "only letters, digits, '_', '-', '.', ':' and '/' are allowed in a tool's name";
    return {};
}

bool runs_at_provider(std::string_view type, std::string_view environment, std::string_view execution) {
    // A shell may be one of the provider's containers, and a search for tools may be left to the client.
    if (type == "shell") return environment.starts_with("container");
    if (type == "tool_search") return execution.empty() || execution == "server";
    return type.starts_with("openrouter:") ||
           std::any_of(std::begin(kProviderTypes), std::end(kProviderTypes), [&](std::string_view known) {
               return type.starts_with(known) && (type.size() == known.size() || type[known.size()] == '_');
           });
}

std::string problem_of_tool_type(std::string_view type, std::string_view expected) {
    if (type == "tool_search")
        return "'tool_search' that the client executes is not supported: "
               "leave it out and offer the tools themselves, or offer a function that searches";
    return fmt::format("'{}' is not supported, expected {}; offer a function instead",
                       type.substr(0, kLongestName), expected);
}

void check_parameters(const ordered_json& schema, std::string_view path, std::string_view tool) {
    Found problem = schema.is_object() ? problem_of_schema(schema) : wrong(schema, "an object");
    if (!problem) return;
    fail("{}{}: expected {}, found {}, in the tool '{}'", path, problem->path, problem->expected,
         problem->found->type_name(), tool.substr(0, kLongestName));
}

}  // namespace cachalot
