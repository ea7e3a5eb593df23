#include "sampling/logprobs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace cachalot {

float checked_maximum(std::span<const float> logits) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    constexpr std::size_t kLanes = 16;  // as many maxima, so that no comparison waits for the one before
    float best[kLanes];
    std::uint32_t bad[kLanes] = {};
    std::ranges::fill(best, -infinity);
    std::size_t i = 0;
    auto look = [&](std::size_t lane) {
        const float x = logits[i + lane];
        bad[lane] |= x < infinity ? 0u : 1u;  // NaN is not less, either
        best[lane] = x > best[lane] ? x : best[lane];
    };
    for (; i + kLanes <= logits.size(); i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane) look(lane);
    for (std::size_t lane = 0; i + lane < logits.size(); ++lane) look(lane);
    if (std::ranges::any_of(bad, [](auto lane) { return lane != 0; }))
        fail("the model computed a logit that is not a number; its weights may be damaged");
    const float largest = *std::ranges::max_element(best);
    if (largest == -infinity) fail("no token can be chosen: every logit is -infinity");
    return largest;
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
