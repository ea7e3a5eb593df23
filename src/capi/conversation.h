// Conversations as they come through the C interface.
#pragma once

#include "service/service.h"

namespace cachalot::capi {

// Sets the conversation and how it is reasoned about. messages: JSON; tools: JSON or null; thinking:
// CACHALOT_THINK_..., format: the model's. Throws CapiError CACHALOT_INVALID saying what is wrong.
void read_conversation(const char* messages, const char* tools, std::int32_t thinking, ChatFormat format,
                       server::Request& request);

}  // namespace cachalot::capi
