// The tools of a request of OpenAI's Responses API.
#pragma once

#include "server/api/tools.h"

namespace cachalot::server {

struct ResponsesTools {
    ToolSet set;
    ordered_json repeated = ordered_json::array();  // as the response repeats them, without those left out
};

// Functions, custom tools, and namespaces of both. Tools that the client runs in ways for which there is no
// form here (local_shell, shell, apply_patch, computer) are refused, all others left out. Throws ApiError 400
// naming the field.
ResponsesTools read_responses_tools(const Field& list, ChatFormat format);

// May take tools away: those that `allowed_tools` does not allow.
void read_responses_tool_choice(const Field& choice, ToolSet& tools, Request& request);

}  // namespace cachalot::server
