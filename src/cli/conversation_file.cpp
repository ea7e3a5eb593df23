#include "cli/conversation_file.h"

#include <algorithm>

#include "cli/command.h"
#include "engine/call_rules.h"
#include "server/api/anthropic_read.h"
#include "server/api/openai_parse.h"
#include "server/api/responses_read.h"
#include "service/json_field.h"
#include "service/prepared_prompt.h"

namespace cachalot::cli {
namespace {

using nlohmann::ordered_json;
using server::Field;

constexpr const char* kMembers[] = {"messages",      "tools",   "thinking_mode",         "reasoning_effort",
                                    "drop_thinking", "context", "add_default_bos_token", "prompt",
                                    "completion"};

// As DeepSeek's encoder takes it: no words of clients.
Effort read_effort(const Field& effort) {
    if (effort.is_number()) return static_cast<Effort>(effort.integer(kLeastEffort, kMostEffort));
    const auto named = named_effort(effort.is_string() ? effort.string() : "");
    if (!named) effort.refuse("expected low, high, max or an integer from 1 to 100");
    return *named;
}

ChatOptions read_options(const Field& root, ChatFormat format) {
    ChatOptions chat;
    chat.format = format;
    if (const Field mode = root["thinking_mode"]) {
        if (mode.string() != "chat" && mode.string() != "thinking") mode.refuse("expected chat or thinking");
        chat.thinking = mode.string() == "thinking";
    }
    if (const Field effort = root["reasoning_effort"]) chat.effort = read_effort(effort);
    chat.drop_thinking = root["drop_thinking"].boolean_or(true);
    chat.bos = root["add_default_bos_token"].boolean_or(true);
    return chat;
}

void check_members(const Field& root) {
    for (const auto& [name, value] : root.object().items())
        if (std::find(std::begin(kMembers), std::end(kMembers), name) == std::end(kMembers))
            root[name.c_str()].refuse(
                "not known beside thinking_mode; a request to an API goes without that");
}

ConversationFile encode_as_it_stands(const Field& root, ChatFormat format) {
    check_members(root);
    ConversationFile result;
    result.format = format;
    ChatOptions chat = read_options(root, format);
    if (const Field text = root["prompt"]) {
        result.prompt.parts = {{text.string(), SpecialTokens::parse}};
        return result;
    }
    if (const Field text = root["completion"]) {
        result.completion = text.string();
        result.prompt.continuation = chat.thinking ? Continuation::reasoning : Continuation::content;
        return result;
    }
    ordered_json whole = {{"messages", root["messages"].json()}};
    if (const Field tools = root["tools"]) whole["tools"] = tools.json();
    Conversation conversation = conversation_from_json(whole, format, ToolNames::any);
    if (const Field context = root["context"]) {
        auto known = conversation_from_json(context.json(), format, ToolNames::any).messages;
        chat.known_messages = known.size();
        conversation.messages.insert(conversation.messages.begin(), known.begin(), known.end());
    }
    result.prompt = encode_prompt(conversation, chat);
    result.tools = offered_tools(conversation);
    return result;
}

// The request, as a server of the model would understand it.
server::Request read_request(const ordered_json& body, Api api, ChatFormat format) {
    server::ModelInfo info;
    info.chat.format = format;
    info.vocab_size = 1;
    switch (api) {
        case Api::messages: return server::read_anthropic_request(body, info, true).request;
        case Api::responses: return server::read_responses_request(body, info).request;
        case Api::chat: break;
    }
    server::HttpRequest http;
    http.body = body.dump();
    return server::openai::parse_chat(http, info).request;
}

}  // namespace

ConversationFile read_conversation_file(const std::string& file, Api api, ChatFormat format) {
    ordered_json json = read_json(file);
    if (json.is_object() && json.contains("input") && json["input"].is_object()) {
        ordered_json input = std::move(json["input"]);
        json = std::move(input);
    }
    if (json.is_array()) {
        ordered_json messages = std::move(json);
        json = ordered_json::object();
        json["messages"] = std::move(messages);
    }
    try {
        const Field root(json);
        root.object();
        if (json.contains("thinking_mode") || json.contains("prompt") || json.contains("completion"))
            return encode_as_it_stands(root, format);
        server::Request request = read_request(json, api, format);
        server::complete_conversation(request);
        ConversationFile result{server::encode_conversation(request), format, nullptr, {}};
        result.tools = offered_tools(request.conversation, request.tool_choice != server::ToolChoice::none);
        return result;
    } catch (const Error& e) {
        fail("{}: {}", file, e.what());
    }
}

}  // namespace cachalot::cli
