#include "server/api_anthropic_read.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "sampling/stop.h"
#include "server/api_common.h"
#include "server/conversation_policy.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

std::string non_empty(const Field& field) {
    if (field.string().empty()) field.refuse("must not be empty");
    return field.string();
}

// Calls visit(block, type) for each block; a string is a block of text.
template <class Text, class Visit>
void for_each_block(const Field& content, Text text, Visit visit) {
    if (content.is_string()) return text(content.string());
    if (!content.is_array()) content.wrong("a string or an array of blocks");
    for (std::size_t i = 0; i < content.size(); ++i) {
        const Field block = content[i];
        const std::string& type = block["type"].string();
        if (type == "text")
            text(block["text"].string());
        else
            visit(block, type);
    }
}

void add_text(std::vector<ContentPart>& parts, const std::string& text) {
    if (!text.empty()) parts.push_back({"text", text});
}

// What the model cannot read (images, documents) is named to it.
std::vector<ContentPart> read_parts(const Field& content) {
    std::vector<ContentPart> parts;
    if (!content) return parts;
    for_each_block(
        content, [&](const std::string& text) { add_text(parts, text); },
        [&](const Field&, const std::string& type) {
            parts.push_back({type, {}});
        });
    return parts;
}

Message read_system(const Field& content) {
    Message system;
    system.role = Role::system;
    system.content = read_parts(content);
    return system;
}

Message read_tool_result(const Field& block) {
    Message result;
    result.role = Role::tool;
    result.tool_call_id = non_empty(block["tool_use_id"]);
    result.content = read_parts(block["content"]);
    if (block["is_error"].boolean_or(false)) {
        const bool text = !result.content.empty() && result.content.front().type == "text";
        if (!text) result.content.insert(result.content.begin(), {"text", {}});
        result.content.front().text.insert(0, "Error: ");
    }
    return result;
}

// Results of tools are messages of their own in a prompt; what stands between them stays between them.
void read_user(const Field& content, std::vector<Message>& messages) {
    Message user;
    const auto flush = [&] {
        if (!user.content.empty()) messages.push_back(std::move(user));
        user = {};
    };
    const std::size_t before = messages.size();
    for_each_block(
        content, [&](const std::string& text) { add_text(user.content, text); },
        [&](const Field& block, const std::string& type) {
            if (type == "tool_result") {
                Message result = read_tool_result(block);
                flush();
                messages.push_back(std::move(result));
            } else {
                user.content.push_back({type, {}});
            }
        });
    flush();
    if (messages.size() == before) messages.push_back(user);  // empty, but a turn
}

ToolCall read_tool_use(const Field& block) {
    const Field input = block["input"];
    return {non_empty(block["id"]), non_empty(block["name"]), input ? python_json(input.object()) : "{}"};
}

Message read_assistant(const Field& content) {
    Message assistant;
    assistant.role = Role::assistant;
    for_each_block(
        content, [&](const std::string& text) { add_text(assistant.content, text); },
        [&](const Field& block, const std::string& type) {
            if (type == "thinking") assistant.reasoning += block["thinking"].string();
            if (type == "tool_use") assistant.tool_calls.push_back(read_tool_use(block));
            // Anything else was written by another service: redacted thinking, calls of its own tools.
        });
    return assistant;
}

std::vector<Message> read_messages(const Field& list) {
    std::vector<Message> messages;
    if (list.size() == 0) list.refuse("at least one message is required");
    for (std::size_t i = 0; i < list.size(); ++i) {
        const Field message = list[i];
        const Field role = message["role"], content = message["content"];
        if (role.string() == "user")
            read_user(content, messages);
        else if (role.string() == "assistant")
            messages.push_back(read_assistant(content));
        else if (role.string() == "system")
            messages.push_back(read_system(content));
        else
            role.refuse("expected user, assistant or system");
    }
    return messages;
}

// Tools that Anthropic runs itself or defines without a schema have a type; they are left out.
bool is_custom(const Field& tool) {
    const Field type = tool["type"];
    return !type || type.string() == "custom";
}

// The names of all tools, also of those left out.
std::set<std::string> read_tools(const Field& list, std::vector<ordered_json>& functions) {
    std::set<std::string> names;
    for (std::size_t i = 0; list && i < list.size(); ++i) {
        const Field tool = list[i];
        if (!is_custom(tool)) {
            names.insert(tool["name"].string_or(""));
            continue;
        }
        ordered_json function = {{"name", non_empty(tool["name"])}};
        if (const Field description = tool["description"]) function["description"] = description.string();
        function["parameters"] = tool["input_schema"].object();
        names.insert(function["name"]);
        functions.push_back(std::move(function));
    }
    return names;
}

void read_tool_choice(const Field& choice, const std::set<std::string>& names, Request& request) {
    if (!choice) return;
    const std::vector<ordered_json>& functions = request.conversation.tools;
    const std::string& type = choice["type"].string();
    if (type == "any") {
        if (names.empty()) choice.refuse("there are no tools");
        if (!functions.empty()) request.tool_choice = ToolChoice::required;
    } else if (type == "none") {
        request.tool_choice = ToolChoice::none;
    } else if (type == "tool") {
        const Field name = choice["name"];
        if (!names.contains(name.string())) name.refuse("there is no tool of this name");
        // The name may be that of a tool that was left out.
        if (std::any_of(functions.begin(), functions.end(),
                        [&](const ordered_json& f) { return f["name"] == name.string(); })) {
            request.tool_choice = ToolChoice::named;
            request.named_tool = name.string();
        }
    } else if (type != "auto") {
        choice["type"].refuse("expected auto, any, tool or none");
    }
    request.parallel_tool_calls = !choice["disable_parallel_tool_use"].boolean_or(false);
}

// Clients ask for thinking by names that change with Anthropic's models; everything but "disabled" means yes. The
// budget is checked and otherwise ignored: the model decides how long it thinks.
void read_thinking(const Field& body, ChatOptions& chat) {
    const Field config = body["output_config"];
    const Field effort = config ? config["effort"] : body["effort"];
    if (effort) apply_effort(effort, chat);
    const Field thinking = body["thinking"];
    chat.thinking = thinking && thinking["type"].string() != "disabled";
    if (thinking) thinking["budget_tokens"].integer_or(0, 0, kMaxTokensLimit);
}

void read_format(const Field& body) {
    const Field config = body["output_config"];
    const Field format = config ? config["format"] : body["output_format"];
    if (format) format.refuse("structured output is not supported");
}

// A conversation that the server keeps. Ignored it would silently lose what came before; a client that is refused in
// just this way sends everything instead.
void refuse_thread(const Field& thread) {
    if (!thread) return;
    throw ApiError(400, std::string(kThreadUnsupported),
                   "thread: conversations are not kept, send all of the messages", "thread");
}

std::vector<std::string> read_stops(const Field& list) {
    std::vector<std::string> stops;
    if (!list) return stops;
    if (list.size() > kMaxStopStrings) list.refuse(fmt::format("at most {} are allowed", kMaxStopStrings));
    for (std::size_t i = 0; i < list.size(); ++i) {
        stops.push_back(non_empty(list[i]));
        if (stops.back().size() > kMaxStopBytes)
            list[i].refuse(fmt::format("at most {} bytes are allowed", kMaxStopBytes));
    }
    return stops;
}

}  // namespace

AnthropicRequest read_anthropic_request(const ordered_json& json, const ModelInfo& info, bool counting) {
    const Field body(json);
    AnthropicRequest result;
    Request& request = result.request;
    result.model = body["model"].string_or(info.id);
    refuse_thread(body["thread"]);

    if (const Field system = body["system"]) {
        Message message = read_system(system);
        if (!message.content.empty()) request.conversation.messages.push_back(std::move(message));
    }
    for (Message& message : read_messages(body["messages"]))
        request.conversation.messages.push_back(std::move(message));
    if (info.remove_client_noise) remove_client_noise(request.conversation);
    const std::set<std::string> names = read_tools(body["tools"], request.conversation.tools);
    read_tool_choice(body["tool_choice"], names, request);
    request.chat = info.chat;
    read_thinking(body, request.chat);
    request.priority = read_priority(body);
    if (counting) return result;

    result.stream = body["stream"].boolean_or(false);
    read_format(body);
    request.generation.sampling = read_sampling(body, info);
    request.generation.stops = read_stops(body["stop_sequences"]);
    request.generation.max_tokens = body["max_tokens"].integer(1, kMaxTokensLimit);
    request.max_tokens_given = true;
    if (const Field metadata = body["metadata"]) metadata["user_id"].string_or("");
    return result;
}

}  // namespace cachalot::server
