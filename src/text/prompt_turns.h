// The turns of a prompt: messages as the model is shown them, before they are written (prompt.cpp).
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/chat.h"
#include "text/prompt.h"

namespace cachalot {

// A stretch of a turn's text.
struct Block {
    std::vector<ContentPart> content;
    bool tool_result = false;
    std::string tool_call_id;
};

struct Turn {
    Role role;  // never Role::tool; for V4.1 never Role::developer, which is a user to it
    // An answer may follow: a user or developer turn; for V4.1 also a system message that is not the first.
    bool asks = false;
    std::vector<Block> blocks;
    std::string reasoning;
    std::vector<ToolCall> tool_calls;
    std::vector<nlohmann::ordered_json> tools;
    nlohmann::ordered_json response_format;
    std::optional<QuickTask> task;
    bool without_eos = false;
};

struct Turns {
    std::vector<Turn> list;
    std::size_t known = 0;            // the first turns, of messages that are known
    bool drop_thinking = false;       // the reasoning before the last question is left out
    std::optional<std::size_t> last;  // question
};

// Throws Error as encode_prompt() does.
Turns turns_of(const Conversation& conversation, const ChatOptions& options);

}  // namespace cachalot
