// What an answer may write of tool calls: rules for sampling, and schemas for reading them.
#pragma once

#include <memory>

#include "engine/generation.h"
#include "text/chat.h"
#include "text/tool_schema.h"

namespace cachalot {

// The tools that the conversation offers. `callable`: whether the answer may call them.
std::shared_ptr<const ToolSchemas> offered_tools(const Conversation& conversation, bool callable = true);

// Makes the name of every call one of those offered. Where no tools are offered, the token that begins every
// call cannot be chosen; where they are but may not be called, no call can be begun in whatever spelling.
// Everybody who answers a conversation asks here, so that the same prompt and seed give the same text
// everywhere.
void restrict_calls(GenerationOptions& options, const ToolSchemas& tools, const Tokenizer& tokenizer,
                    ChatFormat format);

}  // namespace cachalot
