// Log-probabilities to report with a token. They describe the model, not the sampler: they are taken from the
// logits as the model computed them, before any bias, penalty or temperature.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

struct TokenLogprob {
    std::int32_t token = 0;
    double logprob = 0.0;  // natural logarithm; -infinity if the token has no chance
};

struct Logprobs {
    TokenLogprob chosen;
    std::vector<TokenLogprob> top;  // most probable first, ties by ascending token; without impossible tokens
};

// The largest logit. Throws Error if a logit is NaN or +infinity, which only damaged weights give, or if all
// of them are -infinity.
float checked_maximum(std::span<const float> logits);

// log(sum(exp(logits))) in double precision. Throws as checked_maximum does.
double log_sum_exp(std::span<const float> logits);

// The chosen token's log-probability and the `top_n` best. Throws as checked_maximum does, or if `chosen` is
// outside the logits or `top_n` is negative.
Logprobs logprobs_of(std::span<const float> logits, std::int32_t chosen, int top_n);

}  // namespace cachalot
