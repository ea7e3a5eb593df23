// What an answer may write of tool calls: rules for sampling, and schemas for reading them.
#pragma once

#include <memory>

#include "engine/generation.h"
#include "text/chat.h"
#include "text/tool_schema.h"

namespace cachalot {

// The tools that the conversation offers. `callable`: whether the answer may call them.
std::shared_ptr<const ToolSchemas> offered_tools(const Conversation& conversation, bool callable = true);

// Makes the name of every call one of those offered; if they are not callable, no call can be begun, in whatever
// spelling. Nothing changes if there are no tools.
void restrict_calls(GenerationOptions& options, const ToolSchemas& tools);

}  // namespace cachalot
