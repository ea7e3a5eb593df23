#include "engine/generation.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "sampling/turn_constraint.h"

namespace cachalot {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

const char* name(FinishReason reason) {
    switch (reason) {
        case FinishReason::eos:
        case FinishReason::stop: return "stop";
        case FinishReason::length: return "length";
        case FinishReason::cancelled: return "cancelled";
        case FinishReason::none: break;
    }
    return "none";
}

Generation::Generation(const Engine& engine, std::vector<std::int32_t> prompt, GenerationOptions options)
    : tokenizer_(engine.model().tokenizer),
      options_(std::move(options)),
      tokens_(std::move(prompt)),
      prompt_size_(tokens_.size()),
      sampler_(options_.sampling, engine.model().config.vocab_size),
      stops_(options_.stops) {
    if (tokens_.empty()) fail("the prompt is empty");
    if (options_.max_tokens < -1) fail("max_tokens: {} is negative", options_.max_tokens);
    auto context = static_cast<std::size_t>(engine.context());
    if (prompt_size_ > context) fail("the prompt has {} tokens, the context holds {}", prompt_size_, context);
    // One token more than the context holds may be chosen, since the last one is not evaluated.
    limit_ = context + 1;
    if (options_.max_tokens >= 0)
        limit_ = std::min(limit_, prompt_size_ + static_cast<std::size_t>(options_.max_tokens));
    if (limit_ == prompt_size_) reason_ = FinishReason::length;
    sampler_.accept_prompt(tokens_);
    constraints_.add(std::make_unique<TurnConstraint>(
        tokenizer_,
        TurnRules{options_.reasoning_end, options_.max_reasoning, options_.forced, options_.ignore_eos}));
    constraints_.add(
        std::make_unique<TokenFilter>(tokenizer_, options_.rules, tokenizer_.bytes(tokens_.back())));
    if (options_.constraint) constraints_.add(options_.constraint());
}

std::string Generation::accept(std::span<float> logits) {
    CACHALOT_CHECK(!finished() && pending().empty());
    std::optional<std::vector<float>> raw;  // the sampler changes the logits
    if (options_.top_logprobs >= 0) raw.emplace(logits.begin(), logits.end());
    std::int32_t token = choose(logits);
    if (raw) logprobs_ = logprobs_of(*raw, token, options_.top_logprobs);
    if (ends(token)) return finish(FinishReason::eos, {});
    sampler_.accept(token);
    constraints_.accept(token);
    tokens_.push_back(token);
    std::string text;
    if (shows(token)) text = decoder_.push(tokenizer_.bytes(token));
    text_offset_ = decoded_;
    decoded_ += text.size();
    auto released = stops_.push(text);
    if (released.matched) {
        reason_ = FinishReason::stop;
        return released.text;
    }
    if (tokens_.size() >= limit_) return finish(FinishReason::length, std::move(released.text));
    return released.text;
}

int Generation::verify(std::span<const std::int32_t> draft, std::span<float> logits,
                       const std::function<void(std::string text)>& chosen) {
    const std::size_t vocab = logits.size() / (1 + draft.size());
    for (std::size_t row = 0;; ++row) {
        chosen(finished() ? std::string() : accept(logits.subspan(row * vocab, vocab)));
        if (finished() || row == draft.size() || tokens_.back() != draft[row]) return static_cast<int>(row);
        mark_evaluated(1);
    }
}

std::int32_t Generation::choose(std::span<float> logits) {
    if (const auto given = forced(); !given.empty()) return given.front();
    constraints_.mask(logits);
    return constraints_.instead_of(sampler_.sample(logits));
}

std::optional<std::int32_t> Generation::Guess::next(std::span<float> logits) {
    std::int32_t token;
    if (const auto given = g_.forced(); !given.empty()) {
        token = given.front();
    } else {
        g_.constraints_.mask(logits);
        token = g_.constraints_.instead_of(sampler_.sample(logits));
    }
    if (g_.ends(token) || !g_.constraints_.allows(token)) return {};
    sampler_.accept(token);
    g_.constraints_.accept(token);
    ++count_;
    return token;
}

std::size_t Generation::allowed(std::span<const std::int32_t> draft) {
    std::size_t count = 0;
    for (; count < draft.size() && !ends(draft[count]) && constraints_.allows(draft[count]); ++count)
        constraints_.accept(draft[count]);
    constraints_.rollback(count);
    return count;
}

bool Generation::shows(std::int32_t token) const {
    using Special = GenerationOptions::Special;
    if (options_.special == Special::all || !tokenizer_.is_special(token)) return true;
    const auto& text = tokenizer_.bytes(token);
    return options_.special == Special::structure &&
           (text == "<think>" || text == "</think>" || text == "｜DSML｜");
}

std::string Generation::cancel() { return finished() ? std::string() : finish(FinishReason::cancelled, {}); }

void Generation::cut(std::size_t length) {
    if (length >= prompt_size_ + completion_tokens()) return;
    CACHALOT_CHECK(length >= prompt_size_);
    constraints_.rollback(tokens_.size() - length);
    tokens_.resize(length);
    evaluated_ = std::min(evaluated_, length);
    reason_ = FinishReason::cancelled;
}

// The text ends here: what decoder and stop matcher held back belongs to it, unless that completes a stop
// string.
std::string Generation::finish(FinishReason reason, std::string text) {
    auto rest = stops_.push(decoder_.flush());
    reason_ = rest.matched ? FinishReason::stop : reason;
    text += rest.text;
    if (!rest.matched) text += stops_.finish();
    return text;
}

Timings run(Engine& engine, KvState& state, Generation& generation, const GenerationCallbacks& callbacks) {
    Timings timings;
    auto emit = [&](const std::string& text) {
        return text.empty() || !callbacks.on_text || callbacks.on_text(text);
    };
    auto accept = [&](std::span<float> logits) {
        auto text = generation.accept(logits);
        if (callbacks.on_token) callbacks.on_token();
        return emit(text);
    };
    auto cancel = [&] { emit(generation.cancel()); };
    if (generation.finished()) return timings;

    generation.mark_evaluated(static_cast<std::size_t>(state.length()));
    auto start = Clock::now();
    auto prompt = generation.pending();
    CACHALOT_CHECK(!prompt.empty());
    auto logits = engine.prefill(state, prompt, [&](std::int64_t done) {
        bool go_on =
            !callbacks.on_prefill || callbacks.on_prefill(done, static_cast<std::int64_t>(prompt.size()));
        return go_on && !(callbacks.cancelled && callbacks.cancelled());
    });
    timings.prefill_seconds = seconds_since(start);
    timings.prefill_tokens =
        state.length() - static_cast<std::int64_t>(generation.prompt_tokens() - prompt.size());
    if (logits.empty()) {
        cancel();
        return timings;
    }
    start = Clock::now();
    generation.mark_evaluated(prompt.size());
    bool go_on = accept(logits);
    while (!generation.finished()) {
        if (!go_on || (callbacks.cancelled && callbacks.cancelled())) {
            cancel();
            break;
        }
        logits = engine.step(state, generation.pending(), RowsKind::decode);
        ++timings.decode_tokens;
        generation.mark_evaluated(1);
        go_on = accept(logits);
    }
    timings.decode_seconds = seconds_since(start);
    return timings;
}

}  // namespace cachalot
