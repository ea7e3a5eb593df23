// Answers to conversations: prompt encoding, generation and the reading of what was generated, in one call.
//
// A session keeps the state of the last conversation and continues from what the next prompt has in common with it
// (prefix_reuse.h).
#pragma once

#include <functional>

#include "engine/prefix_reuse.h"
#include "text/completion_parser.h"
#include "text/prompt.h"

namespace cachalot {

struct ChatResult {
    Completion completion;
    std::string finish_reason;  // "stop", "length", "tool_calls", "cancelled"
    std::size_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
    Timings timings;
};

struct ChatCallbacks {
    std::function<bool(std::int64_t done, std::int64_t total)> on_prefill;  // false cancels
    std::function<bool(const CompletionEvent&)> on_event;                   // false cancels
    std::function<bool()> cancelled;                                        // asked before every token
};

class ChatSession {
  public:
    explicit ChatSession(Engine& engine) : engine_(engine), state_(engine) {}

    // Throws Error for a conversation that asks for no answer or does not fit in the context. The session can be used
    // again after an error.
    ChatResult answer(const Conversation& conversation, const ChatOptions& chat, GenerationOptions generation,
                      const ChatCallbacks& callbacks = {});

    std::int64_t tokens() const { return state().length(); }
    const KvState& state() const { return state_.state(); }

  private:
    Engine& engine_;
    ReusableState state_;
};

}  // namespace cachalot
