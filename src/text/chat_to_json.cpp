#include "text/chat_to_json.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

const char* name_of(Role role) {
    switch (role) {
        case Role::system: return "system";
        case Role::developer: return "developer";
        case Role::user: return "user";
        case Role::assistant: return "assistant";
        case Role::tool: return "tool";
        case Role::latest_reminder: return "latest_reminder";
    }
    return "";
}

const char* name_of(QuickTask task) {
    switch (task) {
        case QuickTask::action: return "action";
        case QuickTask::query: return "query";
        case QuickTask::authority: return "authority";
        case QuickTask::domain: return "domain";
        case QuickTask::title: return "title";
        case QuickTask::read_url: return "read_url";
    }
    return "";
}

ordered_json content_json(const std::vector<ContentPart>& content) {
    if (content.empty()) return nullptr;
    if (content.size() == 1 && content.front().type == "text") return content.front().text;
    ordered_json parts = ordered_json::array();
    for (const auto& part : content) {
        parts.push_back({{"type", part.type}});
        if (part.type == "text") parts.back()["text"] = part.text;
        if (!part.image.is_null()) parts.back() = part.image;
    }
    return parts;
}

ordered_json tools_json(const std::vector<ordered_json>& functions) {
    ordered_json tools = ordered_json::array();
    for (const auto& function : functions) tools.push_back({{"type", "function"}, {"function", function}});
    return tools;
}

ordered_json message_json(const Message& message) {
    ordered_json json = {{"role", name_of(message.role)}, {"content", content_json(message.content)}};
    if (!message.reasoning.empty()) json["reasoning_content"] = message.reasoning;
    for (const auto& call : message.tool_calls)
        json["tool_calls"].push_back({{"id", call.id},
                                      {"type", "function"},
                                      {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
    if (message.task) json["task"] = name_of(*message.task);
    if (message.without_eos) json["wo_eos"] = true;
    if (!message.tools.empty()) json["tools"] = tools_json(message.tools);
    if (!message.response_format.is_null()) json["response_format"] = message.response_format;
    return json;
}

}  // namespace

ordered_json conversation_to_json(const Conversation& conversation) {
    ordered_json messages = ordered_json::array();
    for (const auto& message : conversation.messages) messages.push_back(message_json(message));
    if (conversation.tools.empty()) return messages;
    return {{"messages", std::move(messages)}, {"tools", tools_json(conversation.tools)}};
}

}  // namespace cachalot
