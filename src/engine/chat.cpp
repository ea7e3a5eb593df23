#include "engine/chat.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

// Brings state_ to the longest prefix of the prompt that it can be brought to, short of the whole (the last token has
// to be evaluated for its logits). Returns its length.
std::size_t ChatSession::reuse(std::span<const std::int32_t> prompt) {
    auto limit = std::min(tokens_.size(), prompt.size() - 1);
    auto common = static_cast<std::int64_t>(
        std::mismatch(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(limit), prompt.begin())
            .first -
        tokens_.begin());
    while (!checkpoints_.empty() && checkpoints_.back().length > common) checkpoints_.pop_back();
    if (common >= state_.rollback_limit())
        state_.rollback(common);
    else if (!checkpoints_.empty())
        state_.restore(checkpoints_.back());
    else
        state_ = engine_.new_state();
    auto reused = static_cast<std::size_t>(state_.length());
    tokens_.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(reused));
    return reused;
}

ChatResult ChatSession::answer(const Conversation& conversation, const ChatOptions& chat,
                               GenerationOptions options, const ChatCallbacks& callbacks) {
    Prompt prompt = encode_prompt(conversation, chat);
    if (prompt.continuation == Continuation::nothing)
        fail("the conversation ends with a finished answer: add a user message");
    const Tokenizer& tokenizer = engine_.model().tokenizer;
    auto tokens = tokenizer.encode_parts(prompt.parts);
    auto header = tokenizer.encode_parts(std::span(prompt.parts).first(prompt.last_answer_header)).size();

    ChatResult result;
    result.prompt_tokens = tokens.size();
    options.special = GenerationOptions::Special::structure;
    Generation generation(engine_, tokens, std::move(options));
    result.cached_tokens = reuse(tokens);

    // Events of the parser go to the caller; `go_on` remembers that it wants no more.
    CompletionParser parser(prompt.continuation == Continuation::reasoning);
    auto pass_on = [&](const std::vector<CompletionEvent>& events) {
        return std::all_of(events.begin(), events.end(),
                           [&](const auto& e) { return !callbacks.on_event || callbacks.on_event(e); });
    };
    auto total = static_cast<std::int64_t>(tokens.size() - result.cached_tokens);
    std::int64_t before = 0;
    auto on_prefill = [&](std::int64_t done, std::int64_t) {
        return !callbacks.on_prefill || callbacks.on_prefill(before + done, total);
    };
    auto not_cancelled = [&] { return !callbacks.cancelled || !callbacks.cancelled(); };

    bool go_on = true;
    if (header > result.cached_tokens && header < tokens.size()) {
        auto start = std::chrono::steady_clock::now();
        auto part = std::span(tokens).subspan(result.cached_tokens, header - result.cached_tokens);
        go_on = !engine_
                     .prefill(state_, part,
                              [&](std::int64_t done) { return on_prefill(done, 0) && not_cancelled(); })
                     .empty();
        before = state_.length() - static_cast<std::int64_t>(result.cached_tokens);
        result.timings.prefill_seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        result.timings.prefill_tokens = before;
        if (go_on) {
            checkpoints_.push_back(state_.checkpoint());
            if (checkpoints_.size() > kCheckpoints) checkpoints_.pop_front();
        }
    }
    if (go_on) {
        auto timings = run(engine_, state_, generation,
                           {on_prefill, [&](const std::string& text) { return pass_on(parser.feed(text)); },
                            callbacks.cancelled});
        result.timings.prefill_seconds += timings.prefill_seconds;
        result.timings.prefill_tokens += timings.prefill_tokens;
        result.timings.decode_seconds = timings.decode_seconds;
        result.timings.decode_tokens = timings.decode_tokens;
    } else {
        generation.cancel();
    }
    pass_on(parser.finish());
    tokens_.assign(generation.tokens().begin(), generation.tokens().begin() + state_.length());
    result.completion = parser.completion();
    result.completion_tokens = generation.completion_tokens();
    result.finish_reason = name(generation.reason());
    if (!result.completion.tool_calls.empty() && result.finish_reason == "stop")
        result.finish_reason = "tool_calls";
    return result;
}

}  // namespace cachalot
