#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "sampling/distribution.h"
#include "sampling/logprobs.h"

namespace cachalot {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void require_between(std::string_view field, float value, float low, float high) {
    if (!(value >= low && value <= high))  // also true for NaN
        fail("{} must be between {} and {}, not {}", field, low, high, value);
}

}  // namespace

void validate(const SamplingOptions& options, int vocab) {
    CACHALOT_CHECK(vocab > 0);
    require_between("temperature", options.temperature, 0.0f, 100.0f);
    require_between("top_p", options.top_p, 0.0f, 1.0f);
    require_between("min_p", options.min_p, 0.0f, 1.0f);
    if (options.top_k < 0) fail("top_k must not be negative (0 turns it off), not {}", options.top_k);
    require_between("repetition_penalty", options.repetition_penalty, 0.01f, 100.0f);
    require_between("presence_penalty", options.presence_penalty, -100.0f, 100.0f);
    require_between("frequency_penalty", options.frequency_penalty, -100.0f, 100.0f);
    if (options.penalty_window < -1)
        fail("penalty_window must be -1 (all tokens) or more, not {}", options.penalty_window);
    for (auto [token, bias] : options.logit_bias) {
        if (token < 0 || token >= vocab)
            fail("logit_bias: token {} is outside the vocabulary of {}", token, vocab);
        if (bias != -kInfinity)
            require_between(fmt::format("logit_bias of token {}", token), bias, -100.0f, 100.0f);
    }
}

Sampler::Sampler(SamplingOptions options, int vocab)
    : options_(std::move(options)),
      vocab_(vocab),
      penalised_(options_.repetition_penalty != 1.0f || options_.presence_penalty != 0.0f ||
                 options_.frequency_penalty != 0.0f),
      random_(options_.seed) {
    validate(options_, vocab);
}

void Sampler::accept_prompt(std::span<const std::int32_t> tokens) {
    for (auto token : tokens) see({token, false});
}

void Sampler::accept(std::int32_t token) { see({token, true}); }

void Sampler::see(Seen seen) {
    if (seen.token < 0 || seen.token >= vocab_)
        fail("token {} is outside the vocabulary of {}", seen.token, vocab_);
    if (!penalised_ || options_.penalty_window == 0) return;
    auto& counts = counts_[seen.token];
    ++counts.all;
    counts.generated += seen.generated;
    if (options_.penalty_window < 0) return;
    window_.push_back(seen);
    if (window_.size() <= static_cast<std::size_t>(options_.penalty_window)) return;
    auto oldest = window_.front();
    window_.pop_front();
    auto entry = counts_.find(oldest.token);
    entry->second.generated -= oldest.generated;
    if (--entry->second.all == 0) counts_.erase(entry);
}

std::int32_t Sampler::sample(std::span<float> logits) {
    CACHALOT_CHECK(std::ssize(logits) == vocab_);
    apply_bias_and_penalties(logits);
    const float best = checked_maximum(logits);
    if (options_.temperature == 0.0f)
        return static_cast<std::int32_t>(std::ranges::find(logits, best) - logits.begin());

    // A megabyte, so one for each thread rather than for each answer.
    thread_local Distribution distribution;
    distribution.assign(logits, best, options_.temperature);
    if (options_.top_k > 0 && options_.top_k < vocab_)
        distribution.keep_top_k(static_cast<std::size_t>(options_.top_k));
    if (options_.top_p < 1.0f) distribution.keep_top_p(options_.top_p);
    if (options_.min_p > 0.0f) distribution.keep_min_p(options_.min_p);
    return distribution.draw(random_.uniform());
}

void Sampler::apply_bias_and_penalties(std::span<float> logits) const {
    for (auto [token, bias] : options_.logit_bias) logits[static_cast<std::size_t>(token)] += bias;
    for (const auto& [token, counts] : counts_) {
        float& x = logits[static_cast<std::size_t>(token)];
        x = x > 0.0f ? x / options_.repetition_penalty : x * options_.repetition_penalty;
        if (counts.generated > 0)
            x -=
                options_.presence_penalty + options_.frequency_penalty * static_cast<float>(counts.generated);
    }
}

}  // namespace cachalot
