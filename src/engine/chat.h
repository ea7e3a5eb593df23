// Answers to conversations: prompt encoding, generation and the reading of what was generated, in one call.
//
// A session keeps the states of what it has read and written, and continues from what the next prompt has in
// common with them (scheduler.h).
#pragma once

#include <functional>

#include "engine/scheduler.h"
#include "text/completion_parser.h"
#include "text/prompt.h"

namespace cachalot {

struct ChatResult {
    Completion completion;
    std::string finish_reason;  // "stop", "length", "tool_calls", "cancelled"
    std::size_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
    std::int64_t kv_bytes = 0;  // of the answer's state at its end
    DraftFigures drafts;
    Timings timings;
};

struct ChatCallbacks {
    std::function<bool(std::int64_t done, std::int64_t total)> on_prefill;  // false cancels
    std::function<bool(const CompletionEvent&)> on_event;                   // false cancels
    std::function<bool()> cancelled;                                        // asked before every pass
};

class ChatSession {
  public:
    explicit ChatSession(Engine& engine, Drafting drafting = Drafting::off,
                         int longest_draft = kLongestDraft);

    // The model decides the format, of V4's generations `chat` does. Throws Error for a conversation that
    // asks for no answer or does not fit in the context. The session can be used again after an error.
    ChatResult answer(const Conversation& conversation, ChatOptions chat, GenerationOptions generation,
                      const ChatCallbacks& callbacks = {});

  private:
    Engine& engine_;
    Scheduler scheduler_;
};

}  // namespace cachalot
