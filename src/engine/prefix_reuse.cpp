#include "engine/prefix_reuse.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

std::size_t ReusableState::common(std::span<const std::int32_t> prompt) const {
    auto limit = static_cast<std::ptrdiff_t>(std::min(tokens_.size(), prompt.size() - 1));
    auto end = tokens_.begin() + limit;
    return static_cast<std::size_t>(std::mismatch(tokens_.begin(), end, prompt.begin()).first -
                                    tokens_.begin());
}

std::size_t ReusableState::reusable(std::span<const std::int32_t> prompt) const {
    auto length = common(prompt);
    if (static_cast<std::int64_t>(length) >= state_.rollback_limit()) return length;
    auto kept = std::find_if(checkpoints_.rbegin(), checkpoints_.rend(),
                             [&](const auto& c) { return static_cast<std::size_t>(c.length) <= length; });
    return kept == checkpoints_.rend() ? 0 : static_cast<std::size_t>(kept->length);
}

std::size_t ReusableState::reuse(std::span<const std::int32_t> prompt) {
    auto length = static_cast<std::int64_t>(common(prompt));
    while (!checkpoints_.empty() && checkpoints_.back().length > length) checkpoints_.pop_back();
    if (length >= state_.rollback_limit())
        state_.rollback(length);
    else if (!checkpoints_.empty())
        state_.restore(checkpoints_.back());
    else
        state_ = engine_->new_state();
    tokens_.resize(static_cast<std::size_t>(state_.length()));
    return tokens_.size();
}

void ReusableState::adopt(KvState state, std::vector<std::int32_t> tokens) {
    CACHALOT_CHECK(state.length() == static_cast<std::int64_t>(tokens.size()));
    state_ = std::move(state);
    tokens_ = std::move(tokens);
    checkpoints_.clear();
}

// The prompt up to the header, with a checkpoint there. Cancels the generation if a callback says so.
Timings ReusableState::prefill_to(std::size_t header, Generation& generation,
                                  const GenerationCallbacks& callbacks) {
    Timings timings;
    auto start = std::chrono::steady_clock::now();
    auto reused = state_.length();
    auto total = static_cast<std::int64_t>(generation.prompt_tokens()) - reused;
    auto part = std::span(generation.tokens()).first(header).subspan(static_cast<std::size_t>(reused));
    auto logits = engine_->prefill(state_, part, [&](std::int64_t done) {
        bool go_on = !callbacks.on_prefill || callbacks.on_prefill(done, total);
        return go_on && !(callbacks.cancelled && callbacks.cancelled());
    });
    timings.prefill_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    timings.prefill_tokens = state_.length() - reused;
    if (logits.empty()) {
        generation.cancel();
        return timings;
    }
    checkpoints_.push_back(state_.checkpoint());
    if (checkpoints_.size() > kCheckpoints) checkpoints_.pop_front();
    return timings;
}

Timings ReusableState::run(Generation& generation, std::size_t header, const GenerationCallbacks& callbacks) {
    auto reused = tokens_.size();
    Timings timings;
    try {
        if (!generation.finished() && header > reused && header < generation.prompt_tokens())
            timings = prefill_to(header, generation, callbacks);
        auto with_first_part = callbacks;
        with_first_part.on_prefill = [&, before = timings.prefill_tokens](std::int64_t done,
                                                                          std::int64_t total) {
            return !callbacks.on_prefill || callbacks.on_prefill(before + done, before + total);
        };
        auto rest = cachalot::run(*engine_, state_, generation, with_first_part);
        timings.prefill_seconds += rest.prefill_seconds;
        timings.prefill_tokens += rest.prefill_tokens;
        timings.decode_seconds = rest.decode_seconds;
        timings.decode_tokens = rest.decode_tokens;
    } catch (...) {
        // A pass that failed may have left some layers ahead of others.
        *this = ReusableState(*engine_);
        throw;
    }
    const auto& tokens = generation.tokens();
    tokens_.assign(tokens.begin(), tokens.begin() + state_.length());
    return timings;
}

}  // namespace cachalot
