// Requests of OpenAI's dialect. Every refusal is an ApiError that names the field.
#pragma once

#include <vector>

#include "server/api/tools.h"

namespace cachalot::server::openai {

struct ChatRequest {
    Request request;
    ToolSet tools;
    std::string model;  // as the client calls it
    bool stream = false;
    bool include_usage = false;    // stream_options: a last chunk with the usage
    bool return_progress = false;  // chunks that tell how much of the prompt has been read
};
ChatRequest parse_chat(const HttpRequest& http, const ModelInfo& model);

struct CompletionRequest {
    std::vector<Request> requests;  // one for each prompt, at least one
    std::string model;              // as the client calls it
    bool stream = false;
    bool include_usage = false;
};
CompletionRequest parse_completion(const HttpRequest& http, const ModelInfo& model);

}  // namespace cachalot::server::openai
