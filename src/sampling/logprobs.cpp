#include "sampling/logprobs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace cachalot {

float checked_maximum(std::span<const float> logits) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    float best = -infinity;
    bool valid = true;
    for (float x : logits) {
        valid &= x < infinity;  // false for NaN, too
        best = std::max(best, x);
    }
    if (!valid) fail("the model computed a logit that is not a number; its weights may be damaged");
    if (best == -infinity) fail("no token can be chosen: every logit is -infinity");
    return best;
}

double log_sum_exp(std::span<const float> logits) {
    const float best = checked_maximum(logits);
    double sum = 0.0;
    for (float x : logits) sum += std::exp(static_cast<double>(x) - static_cast<double>(best));
    return static_cast<double>(best) + std::log(sum);
}

Logprobs logprobs_of(std::span<const float> logits, std::int32_t chosen, int top_n) {
    if (chosen < 0 || chosen >= std::ssize(logits))
        fail("token {} is outside the vocabulary of {}", chosen, logits.size());
    if (top_n < 0) fail("top_logprobs must not be negative, not {}", top_n);
    const double norm = log_sum_exp(logits);
    auto logprob = [&](std::int32_t token) {
        return TokenLogprob{token, static_cast<double>(logits[static_cast<std::size_t>(token)]) - norm};
    };

    std::vector<std::int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    auto end = order.begin() + std::min<std::ptrdiff_t>(top_n, std::ssize(order));
    std::ranges::partial_sort(order, end, [&](std::int32_t a, std::int32_t b) {
        const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
        return x != y ? x > y : a < b;
    });

    Logprobs result;
    result.chosen = logprob(chosen);
    for (auto token = order.begin(); token != end; ++token) {
        auto entry = logprob(*token);
        if (std::isinf(entry.logprob)) break;
        result.top.push_back(entry);
    }
    return result;
}

}  // namespace cachalot
