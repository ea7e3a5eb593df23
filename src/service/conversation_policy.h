// What clients send, made into what the model was trained to see.
#pragma once

#include "text/chat.h"

namespace cachalot::server {

// The prompt encoder renders what it is given; this decides what to give it, so that every conversation has
// an answer to be written. Services apply it to every request; applying it twice changes nothing.
//
// For V4.1 all messages stay what and where they are (developer messages are user turns to it), and only the
// last two points hold. For V4:
//
// - Developer messages are system messages: that is what clients mean by them, while the model was trained on
//   developer turns of another kind.
// - The system messages at the start become one, its texts joined by blank lines.
// - A later system message becomes user text at the same place, which the encoder joins with its neighbours
//   of the user turn. As a system turn between question and answer it would suppress the answer's header, and
//   moved to the front it would change the beginning of a prompt that is already cached.
//
// - A final assistant message is a beginning that the model continues. With tool calls it cannot be: throws
//   ApiError, since their results are missing.
// - If nothing asks for an answer (system messages only), an empty user message does.
//
// Throws ApiError 400 if there are no messages.
void apply_policy(Conversation& conversation, ChatFormat format = ChatFormat::v4);

// Takes out of system and developer messages what known clients change in every request, after which nothing
// could be reused from a cache: Claude Code's lines `x-anthropic-billing-header: ...`. Texts and messages of
// nothing else go with them.
void remove_client_noise(Conversation& conversation);

}  // namespace cachalot::server
