// The form that a request asks its answer to have, under all the names that OpenAI, Anthropic and other
// servers (vLLM, SGLang, llama.cpp, Ollama) have for it. docs/structured_output.md lists them.
//
// A request asks for one form. What it says beside that changes the form or not: what does and is not
// understood is refused by its name.
#pragma once

#include "engine/answer_form.h"
#include "server/api/fields.h"

namespace cachalot::server {

// Throws ApiError 400 for two forms at once, and for what cannot be read. What is wrong within a schema or a
// grammar is found when it is compiled.
AnswerForm read_answer_form(const Field& body, Dialect dialect);

}  // namespace cachalot::server
