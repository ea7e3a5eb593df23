// The tools of a request of Anthropic's Messages API.
#pragma once

#include "server/api/tools.h"

namespace cachalot::server {

// Tools with a schema; those that Anthropic has defined and the client runs (bash, text editor, memory), with
// the parameters that are published for them; OpenAI's functions. Computer use is refused, since the model
// cannot see. What runs at a provider is left out. Throws ApiError 400 naming the field.
ToolSet read_anthropic_tools(const Field& list, ChatFormat format);

void read_anthropic_tool_choice(const Field& choice, const ToolSet& tools, Request& request);

}  // namespace cachalot::server
