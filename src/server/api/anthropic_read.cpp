#include "server/api/anthropic_read.h"

#include <iterator>
#include <string_view>
#include <utility>

#include "sampling/stop.h"
#include "server/api/answer_forms.h"
#include "server/api/anthropic_tools.h"
#include "server/api/fields.h"
#include "server/api/thinking.h"
#include "service/conversation_policy.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

// Calls visit(block, type) for each block; a string is a block of text.
template <class Text, class Visit>
void for_each_block(const Field& content, Text text, Visit visit) {
    if (content.is_string()) return text(content.string());
    if (!content.is_array()) content.wrong("a string or an array of blocks");
    for (std::size_t i = 0; i < content.size(); ++i) {
        const Field block = content[i];
        const std::string& type = block["type"].string();
        // Also under the names that OpenAI's Responses have for it.
        if (type == "text" || type == "input_text" || type == "output_text")
            text(block["text"].string());
        else
            visit(block, type);
    }
}

void add_text(std::vector<ContentPart>& parts, const std::string& text) {
    if (!text.empty()) parts.push_back({"text", text});
}

std::vector<ContentPart> read_parts(const Field& content);

void append(std::vector<ContentPart>& parts, std::vector<ContentPart> more) {
    std::move(more.begin(), more.end(), std::back_inserter(parts));
}

// A heading for text that came with a title.
void add_heading(std::vector<ContentPart>& parts, const Field& block) {
    for (const char* name : {"title", "source", "context"})
        if (const Field field = block[name]; field.is_string()) add_text(parts, field.string());
}

// A document whose text is in the request.
std::vector<ContentPart> read_document(const Field& block) {
    std::vector<ContentPart> parts;
    const Field source = block["source"];
    const std::string& type = source["type"].string();
    if (type != "text" && type != "content") return {{block["type"].string(), {}}};
    add_heading(parts, block);
    if (type == "text")
        add_text(parts, source["data"].string());
    else
        append(parts, read_parts(source["content"]));
    return parts;
}

// Blocks other than text. What the model cannot read (images, PDF files) is named to it.
std::vector<ContentPart> read_block(const Field& block, const std::string& type) {
    if (type == "document") return read_document(block);
    if (type != "search_result") return {{type, {}}};
    std::vector<ContentPart> parts;
    add_heading(parts, block);
    append(parts, read_parts(block["content"]));
    return parts;
}

std::vector<ContentPart> read_parts(const Field& content) {
    std::vector<ContentPart> parts;
    if (!content) return parts;
    for_each_block(
        content, [&](const std::string& text) { add_text(parts, text); },
        [&](const Field& block, const std::string& type) { append(parts, read_block(block, type)); });
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
                append(user.content, read_block(block, type));
            }
        });
    flush();
    if (messages.size() == before) messages.push_back(user);  // empty, but a turn
}

ToolCall read_tool_use(const Field& block) {
    const Field input = block["input"];
    return {non_empty(block["id"]), call_name(block["name"]), input ? python_json(input.object()) : "{}"};
}

Message read_assistant(const Field& content) {
    Message assistant;
    assistant.role = Role::assistant;
    for_each_block(
        content, [&](const std::string& text) { add_text(assistant.content, text); },
        [&](const Field& block, const std::string& type) {
            if (type == "thinking")
                assistant.reasoning += block["thinking"].string();
            else if (type == "tool_use")
                assistant.tool_calls.push_back(read_tool_use(block));
            else if (block["text"])
                block["type"].refuse("not supported: text is a block of the type text");
            // Anything else was written by another service: redacted thinking, calls of its own tools.
        });
    return assistant;
}

std::vector<Message> read_turns(const Field& list) {
    std::vector<Message> messages;
    if (list.size() == 0) list.refuse("at least one message is required");
    for (std::size_t i = 0; i < list.size(); ++i) {
        const Field message = list[i];
        const Field role = message["role"], content = message["content"];
        refuse_own_tools(message);
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

// A conversation that the server keeps. Ignored it would silently lose what came before; a client that is
// refused in just this way sends everything instead.
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
    for (Message& message : read_turns(body["messages"]))
        request.conversation.messages.push_back(std::move(message));
    if (info.remove_client_noise) remove_client_noise(request.conversation);
    const ToolSet tools = read_anthropic_tools(body["tools"], info.chat.format);
    request.conversation.tools = tools.functions();
    read_anthropic_tool_choice(body["tool_choice"], tools, request);
    request.chat = info.chat;
    read_thinking(body, request, true);
    request.priority = read_priority(body);
    request.form = read_answer_form(body, Dialect::messages);  // of which the prompt tells
    if (counting) return result;

    check_fields(body, Dialect::messages);
    result.stream = body["stream"].boolean_or(false);
    request.generation.sampling = read_sampling(body, info);
    request.longest_draft = read_longest_draft(body, info);
    request.generation.stops = read_stops(body["stop_sequences"]);
    request.generation.max_tokens = body["max_tokens"].integer(1, kMaxTokensLimit);
    request.max_tokens_given = true;
    if (const Field metadata = body["metadata"]) metadata["user_id"].string_or("");
    return result;
}

}  // namespace cachalot::server
