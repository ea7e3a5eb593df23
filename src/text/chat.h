// A conversation as clients send it, before it becomes a prompt (text/prompt.h).
//
// The JSON shape read here is OpenAI's chat shape with DeepSeek's additions; other dialects are translated
// into these types by whoever speaks them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_format.h"

namespace cachalot {

enum class Role { system, developer, user, assistant, tool, latest_reminder };

// DeepSeek's quick tasks: a message marked with one is answered by a short classification instead of a reply.
enum class QuickTask { action, query, authority, domain, title, read_url };

struct ContentPart {
    std::string type;  // "text", else something the model cannot read
    std::string text;  // of a "text" part
    // Of an image that V4.1 gets a placeholder for: its record; else null.
    nlohmann::ordered_json image = nullptr;
};

struct ToolCall {
    std::string id;         // may be empty
    std::string name;       // of a V4.1 tool in a namespace: "namespace::name"
    std::string arguments;  // JSON text exactly as the client sent it, valid or not
};

struct Message {
    Role role = Role::user;
    std::vector<ContentPart> content;
    std::string reasoning;             // assistant
    std::vector<ToolCall> tool_calls;  // assistant
    std::string tool_call_id;          // tool: the call it answers
    std::optional<QuickTask> task;     // the message asks for a quick task
    bool without_eos = false;          // assistant: the turn is unfinished, generation continues it
    // system, V4's developer: function objects {"name", "parameters", ...}, and the JSON schema of the answer
    // (null if none). V4.1 is told of them at this message.
    std::vector<nlohmann::ordered_json> tools;
    nlohmann::ordered_json response_format;
};

struct Conversation {
    std::vector<Message> messages;
    // Of all of it: they go to the first system or developer message; null if there is no format.
    std::vector<nlohmann::ordered_json> tools;
    nlohmann::ordered_json response_format;
};

// Whether the model is told of any tool.
bool offers_tools(const Conversation& conversation);

// A message of one text part.
Message text_message(Role role, std::string text);

// The text of a part; one that is no text reads "[Unsupported TYPE]".
std::string part_text(const ContentPart& part);

// The parts joined by blank lines, as the model was trained to see them.
std::string content_text(const std::vector<ContentPart>& content);

// Which names a tool may be offered under: those that APIs allow (problem_of_tool_name), or all that a prompt
// can hold (problem_of_name).
enum class ToolNames { of_apis, any };

// Reads an array of messages, or an object with "messages" and perhaps "tools". Fields that change nothing
// are ignored. For V4.1 namespaces of tools and calls become part of their names (tool_namespace.h), images
// have records, and only system messages carry tools. Throws Error naming the field, also for what would be
// lost, such as text that is not in "content": "messages[3].role: unknown role 'x'".
Conversation conversation_from_json(const nlohmann::ordered_json& json, ChatFormat format = ChatFormat::v4,
                                    ToolNames names = ToolNames::of_apis);

// The function objects of an OpenAI list of tools. Tools that run at a provider (clients send "web_search"
// and the like to whoever listens) are skipped. Throws Error naming the field for tools of any other type and
// for names that tools cannot have (tool_check.h). `path` names the list in errors.
std::vector<nlohmann::ordered_json> tools_from_json(const nlohmann::ordered_json& json, std::string_view path,
                                                    ChatFormat format = ChatFormat::v4,
                                                    ToolNames names = ToolNames::of_apis);

}  // namespace cachalot
