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

// Members that are no parameters of the tool may hold what is meant.
Arguments unwrapped(Arguments members, const ToolSchema* tool, int wraps) {
    if (!tool || wraps >= kMaxWraps) return members;
    if (std::any_of(members.begin(), members.end(), [&](const auto& m) { return tool->parameter(m.name); }))
        return members;
    const auto wrapper = std::find_if(members.begin(), members.end(),
                                      [](const ToolArgument& m) { return is_wrapper_name(m.name); });
    if (wrapper == members.end() || !tool->lists_parameters()) return members;
    if (auto inner = read(wrapper->value, tool, wraps + 1)) return *inner;
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

std::optional<Arguments> read(std::string_view text, const ToolSchema* tool, int wraps) {
    if (const std::optional<std::string> json = object_text(text))
        if (std::optional<Arguments> members = parse_tool_arguments(*json))
            return unwrapped(std::move(*members), tool, wraps);
    if (std::optional<Arguments> members = embedded(text, tool)) return members;
    const std::string_view bare = without_fence(text);
    if (!tool || !tool->only() || bare.empty()) return std::nullopt;
    const ToolSchema::Parameter& only = *tool->only();
    const bool quoted = bare.starts_with('"') && is_json(bare);
    const std::string value = quoted ? parse_json(bare, "text").get<std::string>() : std::string(bare);
    if (!tool->fits_text(only, value)) return std::nullopt;
    return Arguments{{only.name, true, value}};
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

std::vector<JsonCall> read_json_calls(std::string_view text) {
    std::vector<JsonCall> calls;
    const std::optional<std::string> json = mend_json(text);
    if (!json) return calls;
    ordered_json parsed;
    try {
        parsed = parse_json(*json, "text");
    } catch (const Error&) {
        return calls;
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
