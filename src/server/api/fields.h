// Fields that would change the answer and are not understood.
//
// A client that asks for another sampler or a second message and gets an answer as if it had not,
// cannot know. So everything of this kind that OpenAI's and Anthropic's APIs or other servers (vLLM, SGLang,
// llama.cpp, TGI, Ollama, OpenRouter) know is refused by its name, unless its value says "off", as of clients
// that send all of their settings. Names in camel case are the same fields. What only says how an answer is
// to be made (caching, batching, routing, tracing) is none of this and is ignored.
#pragma once

#include "server/api/common.h"

namespace cachalot::server {

enum class Dialect { chat, completions, responses, messages };

// A field's name as the APIs write it: max_tokens for maxTokens and max-tokens.
std::string snake_case(std::string_view name);

// Throws ApiError 400 that names the first such field.
void check_fields(const Field& body, Dialect dialect);

}  // namespace cachalot::server
