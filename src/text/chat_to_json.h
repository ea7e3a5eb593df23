// Conversations as JSON, the way back of conversation_from_json (text/chat.h).
#pragma once

#include <nlohmann/json.hpp>

#include "text/chat.h"

namespace cachalot {

// An array of messages, or {"messages", "tools"} if the conversation has tools. Read again it is the same
// conversation: reasoning, calls with their ids and exact arguments, results, tools of messages, tasks,
// unfinished turns. Only the conversation's own response_format has no place in that shape.
nlohmann::ordered_json conversation_to_json(const Conversation& conversation);

}  // namespace cachalot
