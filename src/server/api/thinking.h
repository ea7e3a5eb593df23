// Thinking in the words of every client.
//
// There is no common field for "do not think" or "think at most so long": each server has invented its own, and clients
// send them to whatever is compatible. All are understood on all endpoints for conversations. A later line wins:
//
//     chat_template_kwargs   thinking, enable_thinking (vLLM, SGLang), thinking_mode "chat" or "thinking" (DeepSeek's
//                            encoder), reasoning_effort, thinking_budget; drop_thinking: keep no old reasoning
//     reasoning_effort       OpenAI; "none" is off
//     reasoning              OpenRouter and Responses: {enabled, effort, max_tokens, exclude}; also true, false
//     enable_thinking        Qwen
//     disable_reasoning      Cerebras
//     think                  Ollama: true, false or an effort
//     thinking               DeepSeek, Anthropic: {type, budget_tokens}; also true, false
//     thinking_budget, thinking_budget_tokens, thinking_token_budget, reasoning_budget, max_reasoning_tokens
//                            after so many tokens of reasoning the answer begins; 0 is off, -1 no limit
//     include_reasoning, reasoning_format, separate_reasoning
//                            whether reasoning is shown
#pragma once

#include "server/api/common.h"

namespace cachalot::server {

// Effort by its names in all dialects: none, minimal, low, medium, high, xhigh, max. "none" turns thinking off.
void apply_effort(const Field& effort, ChatOptions& chat);

// Changes what `request` says about thinking by what the body does. `any_type`: of types of `thinking`, whose names change
// with Anthropic's models, all but "disabled" mean yes. Throws ApiError 400 naming the field.
void read_thinking(const Field& body, Request& request, bool any_type = false);

}  // namespace cachalot::server
