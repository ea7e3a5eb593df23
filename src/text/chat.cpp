#include "text/chat.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "text/chat_json.h"
#include "text/tool_check.h"
#include "text/tool_namespace.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

constexpr std::array<std::pair<std::string_view, Role>, 6> kRoles = {{
    {"system", Role::system},
    {"developer", Role::developer},
    {"user", Role::user},
    {"assistant", Role::assistant},
    {"tool", Role::tool},
    {"latest_reminder", Role::latest_reminder},
}};

constexpr std::array<std::pair<std::string_view, QuickTask>, 6> kTasks = {{
    {"action", QuickTask::action},
    {"query", QuickTask::query},
    {"authority", QuickTask::authority},
    {"domain", QuickTask::domain},
    {"title", QuickTask::title},
    {"read_url", QuickTask::read_url},
}};

// A value together with its place in the request, for error messages.
struct Field {
    const ordered_json*
        value;  // null if the field is missing or JSON null: clients send both and mean the same
    std::string path;

    explicit operator bool() const { return value != nullptr; }

    [[noreturn]] void wrong(std::string_view expected) const {
        if (!value) fail("{}: missing, expected {}", path, expected);
        fail("{}: expected {}, found {}", path, expected, value->type_name());
    }

    const ordered_json& object() const {
        if (!value || !value->is_object()) wrong("an object");
        return *value;
    }
    const ordered_json& array() const {
        if (!value || !value->is_array()) wrong("an array");
        return *value;
    }
    const std::string& string() const {
        if (!value || !value->is_string()) wrong("a string");
        return value->get_ref<const std::string&>();
    }

    Field operator[](const char* name) const {
        const ordered_json& members = object();
        const auto found = members.find(name);
        const bool present = found != members.end() && !found->is_null();
        return {present ? &*found : nullptr, path.empty() ? name : path + "." + name};
    }
    Field operator[](std::size_t index) const {
        return {&array().at(index), fmt::format("{}[{}]", path, index)};
    }
};

std::string string_or_empty(const Field& field) { return field ? field.string() : std::string(); }

// An unknown name quoted in an error, cut where a hostile one would flood the log.
std::string quoted(const std::string& name) {
    constexpr std::size_t kLongest = 40;
    if (name.size() > kLongest) return fmt::format("of {} bytes", name.size());
    std::string text = "'";
    append_json_escaped(text, name);
    return text + "'";
}

template <class Value, std::size_t count>
Value named_value(const Field& field, std::string_view what,
                  const std::array<std::pair<std::string_view, Value>, count>& values) {
    const std::string& name = field.string();
    for (const auto& [known, value] : values)
        if (name == known) return value;
    fail("{}: unknown {} {}", field.path, what, quoted(name));
}

// The text of a part that is reasoning: {"thinking": "..."}, {"reasoning": "..."}, {"text": "..."}, or a list
// of texts.
std::string reasoning_text(const Field& part, const std::string& type) {
    Field text = part[type.c_str()];
    if (!text) text = part["text"];
    if (!text || text.value->is_string()) return text.string();
    std::string all;
    for (std::size_t i = 0; i < text.array().size(); i++) all += text[i]["text"].string();
    return all;
}

// What stands for an image between encoder and eye: {"type": "image"} with the URL, or with the members that
// an `image` came with.
ordered_json image_record(const Field& part, const std::string& type) {
    ordered_json record = {{"type", "image"}};
    if (type == "image_url") {
        const Field url = part["image_url"];
        record["url"] = url && url.value->is_string() ? url.string() : url["url"].string();
        return record;
    }
    for (const char* name : {"source", "url", "data"})
        if (const Field member = part[name]) record[name] = *member.value;
    if (record.size() == 1) fail("{}: an image needs a source, a url or data", part.path);
    return record;
}

// Reads the parts of a message. Text has several names, as of other dialects whose messages are passed on;
// the reasoning of an assistant becomes the message's.
void read_content(const Field& field, Message& message, ChatFormat format) {
    auto& parts = message.content;
    if (!field) return;
    if (field.value->is_string()) {
        parts.push_back({"text", field.string()});
        return;
    }
    if (!field.value->is_array()) field.wrong("a string or an array of parts");
    for (std::size_t i = 0; i < field.value->size(); i++) {
        const Field part = field[i];
        const std::string& type = part["type"].string();
        if (type == "text" || type == "input_text" || type == "output_text") {
            parts.push_back({"text", part["text"].string()});
        } else if (type == "refusal") {
            parts.push_back({"text", part["refusal"].string()});
        } else if (type == "thinking" || type == "reasoning") {
            std::string text = reasoning_text(part, type);
            if (message.role == Role::assistant)
                message.reasoning += text;
            else
                parts.push_back({"text", std::move(text)});
        } else if (format == ChatFormat::v41 && (type == "image" || type == "image_url")) {
            parts.push_back({type, {}, image_record(part, type)});
        } else if (type != "redacted_thinking") {  // which nobody but its author can read
            parts.push_back({type, {}});
        }
    }
}

// What OpenRouter gives its clients to send back.
std::string read_reasoning_details(const Field& details) {
    std::string reasoning;
    if (!details) return reasoning;
    for (std::size_t i = 0; i < details.array().size(); i++) {
        reasoning += string_or_empty(details[i]["text"]);
        reasoning += string_or_empty(details[i]["summary"]);
    }
    return reasoning;
}

// The name of a call.
const std::string& checked_name(const Field& name) {
    if (const auto problem = problem_of_name(name.string()); !problem.empty())
        fail("{}: {}", name.path, problem);
    return name.string();
}

// The namespace that V4.1's tools and calls may have, on themselves or in their function.
struct Namespace {
    std::string name, description;
};
Namespace read_namespace(const Field& outer, const Field& function) {
    const Field given = outer["namespace"] ? outer["namespace"] : function["namespace"];
    if (!given) return {};
    if (!given.value->is_object()) return {given.string(), {}};
    return {string_or_empty(given["name"]), string_or_empty(given["description"])};
}

std::string checked_qualified_name(const Field& name, const Namespace& group) {
    if (const auto problem = problem_of_namespace(name.string(), group.name); !problem.empty())
        fail("{}: {}", name.path, problem);
    const std::string qualified = qualified_name(name.string(), group.name);
    if (const auto problem = problem_of_name(qualified); !problem.empty()) fail("{}: {}", name.path, problem);
    return qualified;
}

// A call of a function, or of a custom tool, which takes a text.
ToolCall read_tool_call(const Field& field, ChatFormat format) {
    if (const Field custom = field["custom"])
        return {string_or_empty(field["id"]), checked_name(custom["name"]),
                python_json({{"input", string_or_empty(custom["input"])}})};
    const Field function = field["function"];
    ToolCall call{string_or_empty(field["id"]), checked_name(function["name"]), {}};
    if (format == ChatFormat::v41) {
        call.name = checked_qualified_name(function["name"], read_namespace(field, function));
        if (call.id.empty()) call.id = string_or_empty(function["id"]);
    }
    const Field arguments = function["arguments"];
    if (arguments && arguments.value->is_object()) {
        call.arguments = python_json(*arguments.value);
    } else {
        call.arguments = string_or_empty(arguments);
    }
    return call;
}

// Members of a message that would be dropped without a word.
void check_members(const Field& field) {
    for (const char* name : {"images", "audio", "videos"})
        if (const Field media = field[name]; media && !(media.value->is_array() && media.value->empty()))
            fail("{}: not supported: the model reads text only", media.path);
    for (const char* name : {"text", "parts"})
        if (const Field text = field[name]) fail("{}: not supported: it belongs into content", text.path);
}

// A beginning of an answer is marked in DeepSeek's API, and need not be here.
void check_prefix(const Field& message, bool last) {
    const Field prefix = message["prefix"];
    if (!prefix) return;
    if (!prefix.value->is_boolean()) prefix.wrong("true or false");
    if (!prefix.value->get<bool>() && last && message["role"].string() == "assistant")
        fail("{}: the last message is of the assistant, and is always continued", prefix.path);
}

// Whether the tool runs elsewhere. Throws Error unless it does or is a function.
bool is_left_out(const Field& tool) {
    const Field type = tool["type"], environment = tool["environment"];
    if (!type || type.string() == "function") return false;
    const bool is_shell = type.string() == "shell", is_search = type.string() == "tool_search";
    if (runs_at_provider(type.string(),
                         is_shell && environment ? string_or_empty(environment["type"]) : std::string(),
                         is_search ? string_or_empty(tool["execution"]) : std::string()))
        return true;
    fail("{}: {}", type.path, problem_of_tool_type(type.string(), "function"));
}

void read_instructions(const Field& field, Message& message, ChatFormat format, ToolNames names) {
    const bool v41 = format == ChatFormat::v41;
    const bool instructs = message.role == Role::system || (!v41 && message.role == Role::developer);
    const char* who = v41 ? "system" : "system and developer";
    if (const Field tools = field["tools"]) {
        message.tools = tools_from_json(*tools.value, tools.path, format, names);
        if (!instructs && !message.tools.empty())
            fail("{}: only {} messages can carry tools", tools.path, who);
    }
    if (const Field response_format = field["response_format"]) {
        if (!instructs) fail("{}: only {} messages can carry a response format", response_format.path, who);
        message.response_format = response_format.object();
    }
}

Message read_message(const Field& field, ChatFormat format, ToolNames names) {
    Message message;
    check_members(field);
    message.role = named_value(field["role"], "role", kRoles);
    read_content(field["content"], message, format);
    const Field reasoning = field["reasoning_content"];
    const std::string given = string_or_empty(reasoning ? reasoning : field["reasoning"]);
    if (!given.empty()) message.reasoning = given;  // parts repeat it
    if (message.reasoning.empty()) message.reasoning = read_reasoning_details(field["reasoning_details"]);
    if (const Field refusal = field["refusal"]; refusal && message.content.empty())
        message.content.push_back({"text", refusal.string()});
    if (field["function_call"]) fail("{}.function_call: not supported, send tool_calls", field.path);
    if (const Field calls = field["tool_calls"])
        for (std::size_t i = 0; i < calls.array().size(); i++)
            message.tool_calls.push_back(read_tool_call(calls[i], format));
    message.tool_call_id = string_or_empty(field["tool_call_id"]);
    if (const Field task = field["task"]) message.task = named_value(task, "task", kTasks);
    if (const Field without_eos = field["wo_eos"]) {
        if (!without_eos.value->is_boolean()) without_eos.wrong("true or false");
        message.without_eos = without_eos.value->get<bool>();
    }
    read_instructions(field, message, format, names);
    return message;
}

}  // namespace

bool offers_tools(const Conversation& conversation) {
    return !conversation.tools.empty() ||
           std::any_of(conversation.messages.begin(), conversation.messages.end(),
                       [](const Message& m) { return !m.tools.empty(); });
}

Message text_message(Role role, std::string text) {
    Message message;
    message.role = role;
    message.content.push_back({"text", std::move(text)});
    return message;
}

std::string part_text(const ContentPart& part) {
    return part.type == "text" ? part.text : "[Unsupported " + part.type + "]";
}

std::string content_text(const std::vector<ContentPart>& content) {
    std::string text;
    for (const ContentPart& part : content) {
        if (&part != &content.front()) text += "\n\n";
        text += part_text(part);
    }
    return text;
}

std::vector<ordered_json> tools_from_json(const ordered_json& json, std::string_view path, ChatFormat format,
                                          ToolNames names) {
    const Field list{&json, std::string(path)};
    const auto check = [&](const std::string& name, const std::string& where) {
        const auto problem =
            names == ToolNames::any ? std::string(problem_of_name(name)) : problem_of_tool_name(name);
        if (!problem.empty()) fail("{}: {}", where, problem);
    };
    std::vector<ordered_json> functions;
    for (std::size_t i = 0; i < list.array().size(); i++) {
        const Field tool = list[i];
        if (is_left_out(tool)) continue;
        const Field function = tool["function"];
        const std::string& name = function["name"].string();
        check(name, function["name"].path);
        if (const Field description = function["description"]) description.string();
        if (const Field parameters = function["parameters"])
            check_parameters(*parameters.value, parameters.path, name);
        ordered_json& added = functions.emplace_back(*function.value);
        if (format != ChatFormat::v41) continue;
        const Namespace group = read_namespace(tool, function);
        if (!group.name.empty()) check(group.name, (tool["namespace"] ? tool : function)["namespace"].path);
        added["name"] = checked_qualified_name(function["name"], group);
        added.erase("namespace");
        if (!group.name.empty()) describe_namespace(added, group.description);
    }
    return functions;
}

Conversation conversation_from_json(const ordered_json& json, ChatFormat format, ToolNames names) {
    Conversation conversation;
    Field messages{&json, "messages"};
    if (json.is_object()) {
        const Field root{&json, ""};
        messages = root["messages"];
        if (const Field tools = root["tools"])
            conversation.tools = tools_from_json(*tools.value, tools.path, format, names);
    }
    const std::size_t count = messages.array().size();
    for (std::size_t i = 0; i < count; i++) {
        conversation.messages.push_back(read_message(messages[i], format, names));
        check_prefix(messages[i], i + 1 == count);
    }
    return conversation;
}

}  // namespace cachalot
