#include "sampling/distribution.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace cachalot {

namespace {

// e^x for x <= 0, right to a few units in the last place; 0 below -87, where the steps mean nothing.
// x = n ln2 + r with |r| <= ln2/2; a polynomial of degree 6 in r (Cephes' coefficients), times 2^n.
inline float exponential(float x) {
    constexpr float kLowest = -87.0f, kRound = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded
    const float rounded = x * 1.44269504088896341f + kRound;
    const float n = rounded - kRound;
    float r = x - n * 0.693359375f;
    r += n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    // The low bits of `rounded` are n, which goes to the exponent of p.
    const auto e = std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(rounded) << 23);
    const std::uint32_t mask = x < kLowest ? 0 : ~std::uint32_t{0};
    return std::bit_cast<float>(e & mask);
}

// In an order that depends on nothing but the number of weights.
inline double sum_of(std::span<const float> weights) {
    constexpr std::size_t kLanes = 8;
    double lanes[kLanes] = {};
    std::size_t i = 0;
    for (; i + kLanes <= weights.size(); i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            lanes[lane] += static_cast<double>(weights[i + lane]);
    for (; i < weights.size(); ++i) lanes[i % kLanes] += static_cast<double>(weights[i]);
    double sum = 0;
    for (double lane : lanes) sum += lane;
    return sum;
}

}  // namespace

// Subtracting the maximum first keeps exp() within [0, 1] however small the temperature is.
void Distribution::assign(std::span<const float> logits, float best, float temperature) {
    logits_ = logits;
    best_ = best;
    scale_ =
        std::min(1.0f / temperature, 1e30f);  // finite: the best token's distance is 0, not 0 times infinity
    bucket_of_.clear();
    weights_.resize(logits.size());
    const float* x = logits.data();
    float* w = weights_.data();
    const float scale = scale_;
    for (std::size_t i = 0; i < logits.size(); ++i) w[i] = exponential((x[i] - best) * scale);
}

void Distribution::find_buckets() {
    if (!bucket_of_.empty()) return;
    bucket_of_.resize(logits_.size());
    const float* x = logits_.data();
    std::uint16_t* bucket = bucket_of_.data();
    const float best = best_, scale = scale_;
    constexpr float kLast = kBuckets - 1;
    for (std::size_t i = 0; i < logits_.size(); ++i)
        bucket[i] =
            static_cast<std::uint16_t>(static_cast<int>(std::min((best - x[i]) * scale * kPerUnit, kLast)));
}

// For each bucket the sum of `of` its tokens.
template <class Number, class Of>
auto Distribution::totals(Of of) const -> std::array<Number, kBuckets> {
    std::array<std::array<Number, kApart>, kBuckets> apart{};
    for (std::size_t i = 0; i < logits_.size(); ++i)
        apart[bucket_of_[i]][i % kApart] += static_cast<Number>(of(weights_[i]));
    std::array<Number, kBuckets> totals{};
    for (std::size_t b = 0; b < kBuckets; ++b)
        for (Number part : apart[b]) totals[b] += part;
    return totals;
}

void Distribution::collect(std::size_t bucket) {
    candidates_.clear();
    for (std::size_t i = 0; i < logits_.size(); ++i)
        if (bucket_of_[i] == bucket && weights_[i] > 0.0f)
            candidates_.push_back({logits_[i], static_cast<std::int32_t>(i)});
}

// Every token that ranks behind `last` gets the weight 0.
void Distribution::drop_behind(const Candidate& last) {
    const auto border = static_cast<std::size_t>(last.token) + 1;
    for (std::size_t i = 0; i < border; ++i) weights_[i] = logits_[i] >= last.logit ? weights_[i] : 0.0f;
    for (std::size_t i = border; i < logits_.size(); ++i)
        weights_[i] = logits_[i] > last.logit ? weights_[i] : 0.0f;
}

void Distribution::keep_top_k(std::size_t k) {
    find_buckets();
    const auto tokens = totals<std::uint32_t>([](float weight) { return weight > 0.0f; });
    std::size_t end = 0;
    for (; end < kBuckets && k > tokens[end]; ++end) k -= tokens[end];
    if (end == kBuckets) return;  // there are no more than k
    collect(end);
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::ranges::nth_element(candidates_, last, ranks_before);
    drop_behind(*last);
}

// The nucleus ends somewhere in [low, high) of a bucket's ranking. Halving that range around its median and
// asking whether the better half holds enough weight finds the end in linear time, even if all tokens are in
// one bucket.
void Distribution::keep_top_p(float p) {
    find_buckets();
    const auto weights = totals<double>([](float weight) { return weight; });
    double total = 0.0;
    std::size_t worst = 0;
    for (std::size_t b = 0; b < kBuckets; ++b) {
        total += weights[b];
        if (weights[b] > 0.0) worst = b;
    }
    double missing = static_cast<double>(p) * total;
    std::size_t end = 0;
    for (; end < worst && missing > weights[end]; ++end) missing -= weights[end];
    collect(end);
    auto low = candidates_.begin(), high = candidates_.end();
    while (high - low > 32) {
        auto middle = low + (high - low) / 2;
        std::ranges::nth_element(low, middle, high, ranks_before);
        double better = 0.0;
        for (auto c = low; c != middle; ++c) better += weight(*c);
        if (better >= missing) {
            high = middle;
        } else {
            missing -= better;
            low = middle;
        }
    }
    std::ranges::sort(low, high, ranks_before);
    auto last = low;
    for (missing -= weight(*last); missing > 0.0 && last + 1 != high; missing -= weight(*last)) ++last;
    drop_behind(*last);
}

void Distribution::keep_min_p(float part) {
    for (float& weight : weights_) weight = weight >= part ? weight : 0.0f;
}

std::int32_t Distribution::draw(double uniform) {
    // Sums of blocks find the block, and a walk through it the token.
    constexpr std::size_t kBlock = 512;
    const auto weights = std::span<const float>(weights_);
    auto block = [&](std::size_t begin) {
        return weights.subspan(begin, std::min(kBlock, weights.size() - begin));
    };
    block_sums_.clear();
    double total = 0.0;
    for (std::size_t begin = 0; begin < weights.size(); begin += kBlock)
        total += block_sums_.emplace_back(sum_of(block(begin)));
    CACHALOT_CHECK(total > 0.0);
    const double target = uniform * total;
    double passed = 0.0;  // before the last block that has weight and begins at or before the target
    std::size_t found = 0;
    double before = 0.0;
    for (std::size_t b = 0; b < block_sums_.size() && before <= target; ++b) {
        if (block_sums_[b] == 0.0) continue;
        found = b, passed = before;
        before += block_sums_[b];
    }
    // Rounding may leave the target behind the last sum; then the last token with a weight is drawn.
    std::size_t drawn = 0;
    for (std::size_t i = found * kBlock; i < std::min((found + 1) * kBlock, weights.size()); ++i) {
        if (weights[i] == 0.0f) continue;
        drawn = i;
        if ((passed += static_cast<double>(weights[i])) > target) break;
    }
    return static_cast<std::int32_t>(drawn);
}

}  // namespace cachalot
