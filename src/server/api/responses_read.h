// A request of OpenAI's Responses API as a server::Request.
//
// The conversation arrives as a flat list of items, in which one turn of the model is several: reasoning,
// messages, calls of functions. They are put together again into the one message that they came from.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "server/api/tools.h"

namespace cachalot::server {

struct ResponsesRequest {
    Request request;
    ToolSet tools;
    bool stream = false;
    bool remembered = true;            // the client may refer to the items of the answer
    bool reasoning_summary = false;    // show the reasoning as a summary
    bool encrypted_reasoning = false;  // give the client a copy to send back
    nlohmann::ordered_json repeated;   // the fields of the response that repeat what was asked for
};

// Throws ApiError 400 naming the field.
ResponsesRequest read_responses_request(const nlohmann::ordered_json& body, const ModelInfo& info);

// Stands before reasoning in the field `encrypted_content`, which clients keep and send back unread.
inline constexpr std::string_view kReasoningPrefix = "cachalot:";

}  // namespace cachalot::server
