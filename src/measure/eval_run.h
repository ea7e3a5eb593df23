// Runs the items of eval_item.h through the chat format, always with the most probable token.
#pragma once

#include <string>
#include <vector>

#include "engine/chat.h"
#include "measure/eval_item.h"

namespace cachalot {

struct EvalSettings {
    ChatOptions chat;
    std::int64_t max_tokens = 128;  // of each answer
};

struct EvalOutcome {
    std::string id;
    double score = 0;
    std::vector<std::string> answers;  // what was said and called, without the reasoning
    std::string expected;
    std::int64_t prompt_tokens = 0, answer_tokens = 0;
    bool cut = false;  // an answer reached max_tokens
};

EvalOutcome run_eval_item(ChatSession& session, const EvalItem& item, const EvalSettings& settings);

}  // namespace cachalot
