// A conversation in a JSON file, as the prompt that a model is given.
//
// Two forms are read. The form of an API is the body of a request of one of the server's dialects, and goes
// through what a request goes through. The form of an encoder says everything itself, and is written as it
// stands; it is known by the member `thinking_mode`:
//
//     {"messages": [...], "thinking_mode": "chat" or "thinking", "reasoning_effort": a name or a number,
//      "drop_thinking": bool, "context": [messages that were read before], "add_default_bos_token": bool}
//
// or, with "prompt" a text of special tokens, or with "completion" an answer, in the place of "messages". A
// file that has either under "input" is read there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/prompt.h"
#include "text/tool_schema.h"

namespace cachalot::cli {

enum class Api { chat, messages, responses };

struct ConversationFile {
    Prompt prompt;
    ChatFormat format = ChatFormat::v4;
    std::shared_ptr<const ToolSchemas> tools;  // null: not known
    std::optional<std::string> completion;     // what the file says that the model wrote
};

// `format`: the model's, or an earlier one of V4. Throws Error naming the file and the field.
ConversationFile read_conversation_file(const std::string& file, Api api, ChatFormat format);

}  // namespace cachalot::cli
