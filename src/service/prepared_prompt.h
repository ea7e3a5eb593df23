// A request made ready for the model: what it will read, and what it may write.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "service/service.h"
#include "service/tool_memory.h"

namespace cachalot::server {

struct PreparedPrompt {
    std::vector<std::int32_t> tokens;
    std::size_t header = 0;  // where the last answer's header begins; 0 if there is none
    std::size_t hidden = 0;  // first tokens that echo does not show: the BOS that was added to a text
    std::optional<bool> in_reasoning;  // how the answer begins; none for raw text
};

// What every conversation goes through before it is encoded: the policy, and a form of JSON, of which the
// model is told. Throws ApiError.
void complete_conversation(Request& request);

// Encodes the request's conversation, which may be changed by the policy and by what `memory` puts back, or
// its raw text, and tells `sized`. Throws ApiError for what cannot be encoded, and context_exceeded() as soon
// as more than `most` tokens are found.
PreparedPrompt prepare_prompt(Request& request, const Tokenizer& tokenizer, ToolMemory& memory,
                              std::int64_t most = std::numeric_limits<std::int64_t>::max());

// Turns tool_choice into bias, rules and forced tokens, and lets no turn end inside its reasoning. Throws
// ApiError for a choice that the tools do not allow.
void apply_tool_choice(Request& request, const PreparedPrompt& prompt, const Tokenizer& tokenizer);

// The answer's form, for sampling. Throws ApiError 400 for a form that cannot be had.
void apply_form(Request& request, AnswerForms& forms);

// Throws ApiError 400 for a form that cannot be had.
void check_form(const Request& request);

// Throws ApiError 400 if the named or required tool does not exist.
void check_tool_choice(const Request& request);

// The prompt as encode_prompt gives it. Throws ApiError instead of Error.
Prompt encode_conversation(const Request& request);

// 400 "context_length_exceeded" with its numbers; without the prompt's tokens if counting stopped at the
// context.
ApiError context_exceeded(std::optional<std::int64_t> prompt_tokens, std::int64_t max_tokens,
                          std::int64_t context);

}  // namespace cachalot::server
