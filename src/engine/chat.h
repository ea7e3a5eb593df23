// Answers to conversations: prompt encoding, generation and the reading of what was generated, in one call.
//
// A session keeps the state of the last conversation. The next prompt usually begins with the same tokens, so only the
// rest is evaluated: up to the difference the state is rolled back if that is near, or restored from one of a few
// checkpoints. One is taken where the last answer's header begins, because there a prompt may still change: reasoning
// is dropped from history when the user speaks again.
#pragma once

#include <deque>
#include <functional>

#include "engine/generation.h"
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
    explicit ChatSession(Engine& engine) : engine_(engine), state_(engine.new_state()) {}

    // Throws Error for a conversation that asks for no answer or does not fit in the context. The session can be used
    // again after an error.
    ChatResult answer(const Conversation& conversation, const ChatOptions& chat, GenerationOptions generation,
                      const ChatCallbacks& callbacks = {});

    std::int64_t tokens() const { return state_.length(); }
    const KvState& state() const { return state_; }

  private:
    static constexpr std::size_t kCheckpoints = 4;

    std::size_t reuse(std::span<const std::int32_t> prompt);

    Engine& engine_;
    KvState state_;
    std::vector<std::int32_t> tokens_;      // that state_ holds
    std::deque<KvCheckpoint> checkpoints_;  // of prefixes of tokens_, shortest first
};

}  // namespace cachalot
