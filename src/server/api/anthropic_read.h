// A request of Anthropic's Messages API as a server::Request.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "service/service.h"

namespace cachalot::server {

// The code of the error for requests that continue a conversation kept by the server.
inline constexpr std::string_view kThreadUnsupported = "thread_unsupported_request";

struct AnthropicRequest {
    Request request;
    std::string model;  // as the client calls it
    bool stream = false;
};

// Throws ApiError 400 naming the field. `counting`: the body is one of count_tokens, which has no max_tokens.
AnthropicRequest read_anthropic_request(const nlohmann::ordered_json& body, const ModelInfo& info,
                                        bool counting);

}  // namespace cachalot::server
