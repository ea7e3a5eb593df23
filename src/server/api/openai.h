// OpenAI's dialect: chat completions, legacy completions, models, and the small tools around the tokenizer.
//
//     openai_parse.cpp        JSON into Request
//     openai_chat.cpp         events into chat completions, whole or streamed
//     openai_completions.cpp  the same for legacy completions, of one prompt or many
//     openai.cpp              the routes, and the endpoints that need no generation
//
// Extensions of others that clients send are understood: DeepSeek's `thinking` and `reasoning_content`,
// vLLM's `chat_template_kwargs`, `min_p`, `ignore_eos`, `cache_salt`, llama.cpp's `return_progress`.
#pragma once

#include <vector>

#include "server/exchange.h"
#include "service/service.h"

namespace cachalot::server {

// POST /v1/chat/completions, /v1/completions, /tokenize, /detokenize, /apply-template; GET /v1/models,
// /v1/models/{id}. The service must outlive the routes.
std::vector<Route> openai_routes(Service& service);

}  // namespace cachalot::server
