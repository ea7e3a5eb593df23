// Thinking in the words of every client.
//
// There is no common field for "do not think" or "think at most so long": each server has invented its own,
// and clients send them to whatever is compatible. All are understood on all endpoints for conversations,
// written with underscores or in camel case. A later line wins:
//
//     output_config.effort, effort
//                            Anthropic: how hard to think
//     chat_template_kwargs, chat_template_args
//                            vLLM, SGLang: an object of any words of this list
//     reasoning_effort, thinking_level
//                            OpenAI, Google, DeepSeek: a word (text/effort.h) or 1 to 100; "none" is off
//     thinking_mode          "chat" or "thinking" (DeepSeek's encoder)
//     reasoning              OpenRouter and Responses: {enabled, effort, max_tokens, exclude}; also true,
//                            false
//     enable_thinking, enable_reasoning
//                            Qwen
//     disable_thinking, disable_reasoning
//                            Cerebras
//     think                  Ollama: true, false or an effort
//     thinking               DeepSeek, Anthropic: {type, budget_tokens}; also true, false
//     thinking_config        Google, also inside of `google`: {thinking_budget, thinking_level,
//                            include_thoughts}
//     thinking_budget, thinking_budget_tokens, thinking_token_budget, reasoning_budget, max_reasoning_tokens,
//     reasoning_max_tokens, max_thinking_tokens
//                            after so many tokens of reasoning the answer begins; 0 is off, -1 no limit
//     include_reasoning, reasoning_format
//                            whether reasoning is shown
//     drop_thinking, clear_thinking, preserve_thinking
//                            whether the reasoning of earlier turns is left out
//
// Within the objects the same words hold, and one that is not known is refused.
#pragma once

#include "server/api/common.h"

namespace cachalot::server {

// Changes what `request` says about thinking by what the body does. `if_asked`: as in Anthropic's messages
// thinking is off unless something asks for it, which an effort alone does not, but "adaptive" does. Throws
// ApiError 400 naming the field.
void read_thinking(const Field& body, Request& request, bool if_asked = false);

}  // namespace cachalot::server
