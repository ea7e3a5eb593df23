#include "text/call_arguments.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/loose_json.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

using Arguments = std::vector<ToolArgument>;

constexpr int kMaxWraps = 8;

constexpr std::array<std::string_view, 18> kWrappers = {
    "arguments", "argument", "args",       "arg",           "input",        "inputs",
    "params",    "param",    "parameters", "parameter",     "kwargs",       "json",
    "payload",   "data",     "toolinput",  "toolarguments", "functionargs", "object"};

constexpr std::size_t kMaxIndent = 64;  // before a value's bracket, to be recognised
constexpr std::string_view kSpaces = " \t\r\n";

bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
    return std::min(text.find_first_not_of(kSpaces, at), text.size());
}

std::size_t skip_word(std::string_view text, std::size_t at) {
    while (at < text.size() && is_word_char(text[at])) at++;
    return at;
}

bool is_one_of(char c, std::string_view chars) { return chars.find(c) != std::string_view::npos; }

// Not the group of a shell, `{ echo; }`.
bool begins_like_object(std::string_view text) {
    const std::size_t at = skip_spaces(text, 1), end = skip_word(text, at);
    if (at == 1 || end == text.size()) return true;
    if (at == end) return is_one_of(text[at], "\"'\\{}");
    const std::size_t next = skip_spaces(text, end);
    return next == text.size() || is_one_of(text[next], ":=");
}

// Not the test of a shell, `[ -f x ]`, and not the mark of a note, "[draft] ...".
bool begins_like_array(std::string_view text) {
    const std::size_t at = text.find_first_not_of(" \t\r\n[");
    if (at == std::string_view::npos || is_one_of(text[at], "\"'\\{]")) return true;
    const std::string_view word = text.substr(at, skip_word(text, at) - at);
    for (const char* value : {"true", "false", "null", "True", "False", "None"})
        if (word == value) return true;
    const std::string_view digits = word.starts_with('-') ? word.substr(1) : word;
    return !digits.empty() && digits[0] >= '0' && digits[0] <= '9';
}

// Not the redirection of a shell, `<in sort`.
bool begins_like_tag(std::string_view text) {
    const std::size_t start = text.find_first_not_of("/!?", 1);
    const std::size_t end = start == std::string_view::npos ? text.size() : skip_word(text, start);
    if (end == text.size()) return true;
    if (end == start) return text.starts_with("</");
    if (text[end] == '>' || text[end] == '/' || text[end] == ':') return true;
    return kSpaces.find(text[end]) != std::string_view::npos && text.find('>', end) != std::string_view::npos;
}

// Whether the text is no bare one: it was to be an object, an array, a tag, or a fence around something.
bool begins_like_structure(std::string_view text) {
    text = without_fence(text);
    return (text.starts_with('{') && begins_like_object(text)) ||
           (text.starts_with('[') && begins_like_array(text)) ||
           (text.starts_with('<') && begins_like_tag(text)) || text.starts_with("```");
}

bool is_nothing(std::string_view text) { return text.empty() || text == "null" || text == "None"; }

// The text of an object: `text` itself, or what a JSON string holds.
std::optional<std::string> object_text(std::string_view text) {
    std::string inner(without_fence(text));
    for (int i = 0; i < kMaxWraps && inner.starts_with('"') && is_json(inner); i++)
        inner = without_fence(parse_json(inner, "text").get<std::string>());
    std::optional<std::string> json = mend_json(inner);
    if (!json || !json->starts_with('{')) return std::nullopt;
    return json;
}

std::optional<Arguments> read(std::string_view text, const ToolSchema* tool, int wraps);

// Members that are no parameters of the tool may hold what is meant, and one that is may hold itself.
std::optional<Arguments> unwrapped(Arguments members, const ToolSchema* tool, int wraps) {
    if (!tool || wraps >= kMaxWraps || !tool->lists_parameters()) return members;
    if (members.size() == 1)
        if (auto inner = unwrap_own(members.front().name, members.front().value, *tool)) return inner;
    if (std::any_of(members.begin(), members.end(), [&](const auto& m) { return tool->parameter(m.name); }))
        return members;
    const auto wrapper = std::find_if(members.begin(), members.end(),
                                      [](const ToolArgument& m) { return is_wrapper_name(m.name); });
    if (wrapper == members.end()) return members;
    if (is_nothing(without_fence(wrapper->value))) return Arguments{};
    if (auto inner = read(wrapper->value, tool, wraps + 1)) return inner;
    if (members.size() == 1) return std::nullopt;
    return members;
}

// An object of nothing but the tool's parameters at the end of a text.
std::optional<Arguments> embedded(std::string_view text, const ToolSchema* tool) {
    const std::size_t start = text.find('{');
    if (!tool || start == std::string_view::npos) return std::nullopt;
    text.remove_prefix(start);
    if (text.ends_with("```")) text.remove_suffix(3);
    const std::optional<std::string> json = mend_json(text);
    std::optional<Arguments> members = json ? parse_tool_arguments(*json) : std::nullopt;
    const auto known = [&](const ToolArgument& member) { return tool->parameter(member.name) != nullptr; };
    if (!members || members->empty() || !std::all_of(members->begin(), members->end(), known))
        return std::nullopt;
    return members;
}

std::optional<Arguments> bare_value(std::string_view bare, const ToolSchema* tool) {
    if (!tool || !tool->only() || bare.empty()) return std::nullopt;
    const ToolSchema::Parameter& only = *tool->only();
    const bool quoted = bare.starts_with('"') && is_json(bare);
    const std::string value = quoted ? parse_json(bare, "text").get<std::string>() : std::string(bare);
    if (begins_like_structure(value)) {
        const std::optional<std::string> json = mend_json(value);
        const bool array = json && json->starts_with('[') && only.schema->types.has(JsonTypes::array);
        return array ? std::optional(Arguments{{only.name, false, *json}}) : std::nullopt;
    }
    if (tool->takes_string(only) && is_nothing(value)) return std::nullopt;
    if (!tool->fits_text(only, value)) return std::nullopt;
    return Arguments{{only.name, true, value}};
}

std::optional<Arguments> read(std::string_view text, const ToolSchema* tool, int wraps) {
    if (const std::optional<std::string> json = object_text(text))
        if (std::optional<Arguments> members = parse_tool_arguments(*json))
            return unwrapped(std::move(*members), tool, wraps);
    if (std::optional<Arguments> members = embedded(text, tool)) return members;
    return bare_value(without_fence(text), tool);
}

// The objects and lists of a text that has nothing else, but for commas between them.
std::vector<std::string_view> json_values(std::string_view text) {
    std::vector<std::string_view> values;
    std::size_t depth = 0, start = 0;
    bool in_string = false;
    for (std::size_t at = 0; at < text.size(); at++) {
        const char c = text[at];
        if (in_string) {
            if (c == '\\') at++;
            in_string = c != '"';
        } else if (c == '{' || c == '[') {
            if (depth++ == 0) start = at;
        } else if (c == '}' || c == ']') {
            if (depth == 0) return {};
            if (--depth == 0) values.push_back(text.substr(start, at + 1 - start));
        } else if (c == '"') {
            in_string = true;
        }
        const bool between = depth == 0 && c != '}' && c != ']';
        if (between && c != ',' && kSpaces.find(c) == std::string_view::npos) return {};
    }
    if (depth > 0) values.push_back(text.substr(start));
    return values;
}

std::optional<JsonCall> json_call(const ordered_json& json) {
    if (!json.is_object()) return std::nullopt;
    const auto function = json.find("function");
    if (function != json.end() && function->is_object()) return json_call(*function);
    const auto name = json.find("name");
    if (name == json.end() || !name->is_string()) return std::nullopt;
    for (const char* key : {"arguments", "parameters", "input", "args"}) {
        const auto arguments = json.find(key);
        if (arguments == json.end()) continue;
        return JsonCall{*name,
                        arguments->is_string() ? arguments->get<std::string>() : python_json(*arguments)};
    }
    return std::nullopt;
}

}  // namespace

std::optional<Arguments> read_arguments(std::string_view text, const ToolSchema* tool) {
    return read(text, tool, 0);
}

std::optional<Arguments> arguments_of_history(std::string_view text, const ToolSchema* tool) {
    const std::string_view value = without_fence(text);
    if (value.empty() || value == "null") return Arguments{};
    if (std::optional<Arguments> members = parse_tool_arguments(text))
        return unwrapped(std::move(*members), tool, 0);
    return read(text, tool, 0);
}

std::vector<ToolArgument> arguments_or_text(std::string_view text) {
    if (auto members = parse_tool_arguments(text)) return *members;
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    if (start != std::string_view::npos && text[start] == '"' && is_json(text))
        if (auto members = parse_tool_arguments(parse_json(text, "arguments").get<std::string>()))
            return *members;
    if (text.empty()) return {};
    return {{"arguments", true, std::string(text)}};
}

bool is_object_text(std::string_view text) { return object_text(text).has_value(); }

bool is_wrapper_name(std::string_view name) {
    return std::find(kWrappers.begin(), kWrappers.end(), name_letters(name)) != kWrappers.end();
}

std::optional<Arguments> unwrap_parameter(std::string_view name, std::string_view text,
                                          const ToolSchema& tool) {
    if (!tool.lists_parameters() || tool.parameter(name)) return std::nullopt;
    const auto known = [&](const ToolArgument& member) { return tool.parameter(member.name) != nullptr; };
    std::optional<Arguments> inner = read(text, &tool, 1);
    if (!inner) return std::nullopt;
    if (is_wrapper_name(name)) {
        if (inner->empty() || std::any_of(inner->begin(), inner->end(), known)) return inner;
        return std::nullopt;
    }
    // Any other name has to hold an object of nothing but parameters.
    if (!object_text(text) || inner->empty() || !std::all_of(inner->begin(), inner->end(), known))
        return std::nullopt;
    return inner;
}

std::optional<Arguments> unwrap_own(std::string_view name, std::string_view text, const ToolSchema& tool) {
    const ToolSchema::Parameter* own = tool.parameter(name);
    if (!own || !tool.takes_string(*own) || own->schema->types.has(JsonTypes::object)) return std::nullopt;
    std::optional<Arguments> found;
    std::string inner(text);
    for (int i = 0; i < kMaxWraps; i++) {
        if (skip_spaces(inner, 0) == inner.size() || inner[skip_spaces(inner, 0)] != '{') break;
        const std::optional<std::string> json = mend_json(inner);
        const std::optional<Arguments> members = json ? parse_tool_arguments(*json) : std::nullopt;
        if (!members) break;
        const auto member = [&](std::string_view key) {
            return std::find_if(members->begin(), members->end(),
                                [&](const auto& m) { return m.name == key; });
        };
        const auto missing = [&](const auto& p) { return p.required && member(p.name) == members->end(); };
        const auto unknown = [&](const auto& m) { return !tool.parameter(m.name); };
        const auto itself = member(own->name);
        if (itself == members->end() || !itself->is_string ||
            std::any_of(members->begin(), members->end(), unknown) ||
            std::any_of(tool.parameters().begin(), tool.parameters().end(), missing))
            break;
        inner = itself->value;
        found = members;
    }
    return found;
}

bool may_wrap_own(std::string_view text, const ToolSchema& tool) {
    std::size_t at = skip_spaces(text, 0);
    if (at == text.size()) return at <= kMaxIndent;
    if (at > kMaxIndent || text[at] != '{') return false;
    at = skip_spaces(text, at + 1);
    if (at == text.size()) return at <= 2 * kMaxIndent;
    const char quote = text[at];
    if (quote != '"' && quote != '\'') return false;
    const std::size_t end = text.find(quote, ++at);
    const std::string_view key = text.substr(at, end == std::string_view::npos ? end : end - at);
    return std::any_of(tool.parameters().begin(), tool.parameters().end(), [&](const auto& p) {
        return end == std::string_view::npos ? p.name.starts_with(key) : p.name == key;
    });
}

std::vector<JsonCall> read_json_calls(std::string_view text) {
    std::vector<JsonCall> calls;
    ordered_json parsed = ordered_json::array();
    const std::vector<std::string_view> values = json_values(without_fence(text));
    for (const std::string_view value : values.empty() ? std::vector{text} : values) {
        const std::optional<std::string> json = mend_json(value);
        if (!json) return calls;
        try {
            ordered_json item = parse_json(*json, "text");
            if (values.size() > 1)
                parsed.push_back(std::move(item));
            else
                parsed = std::move(item);
        } catch (const Error&) {
            return calls;
        }
    }
    if (!parsed.is_array()) parsed = ordered_json::array({parsed});
    for (const ordered_json& item : parsed) {
        std::optional<JsonCall> call = json_call(item);
        if (!call) return {};
        calls.push_back(std::move(*call));
    }
    return calls;
}

}  // namespace cachalot
