#include "sampling/distribution.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cachalot {

// Subtracting the maximum first keeps exp() within [0, 1] however small the temperature is.
void Distribution::assign(std::span<const float> logits, float best, double temperature) {
    logits_ = logits;
    best_ = best;
    scale_ = 1.0 / temperature;
    weights_.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i)
        weights_[i] = std::exp((static_cast<double>(logits[i]) - best_) * scale_);
}

void Distribution::fill_buckets() {
    bucket_of_.resize(logits_.size());
    for (std::size_t i = 0; i < logits_.size(); ++i) {
        const double distance = (best_ - static_cast<double>(logits_[i])) * scale_;
        bucket_of_[i] =
            static_cast<std::uint16_t>(std::min(distance * kPerUnit, static_cast<double>(kBuckets - 1)));
    }
    buckets_.fill({});
    for (std::size_t i = 0; i < logits_.size(); ++i) {
        auto& bucket = buckets_[bucket_of_[i]];
        bucket.weight += weights_[i];
        bucket.tokens += weights_[i] > 0.0;
    }
}

void Distribution::collect(std::size_t bucket) {
    candidates_.clear();
    for (std::size_t i = 0; i < logits_.size(); ++i)
        if (bucket_of_[i] == bucket && weights_[i] > 0.0)
            candidates_.push_back({logits_[i], static_cast<std::int32_t>(i)});
}

// Every token that ranks behind `last` gets the weight 0.
void Distribution::drop_behind(const Candidate& last) {
    const auto border = static_cast<std::size_t>(last.token) + 1;
    for (std::size_t i = 0; i < border; ++i) weights_[i] = logits_[i] >= last.logit ? weights_[i] : 0.0;
    for (std::size_t i = border; i < logits_.size(); ++i)
        weights_[i] = logits_[i] > last.logit ? weights_[i] : 0.0;
}

void Distribution::keep_top_k(std::size_t k) {
    fill_buckets();
    std::size_t end = 0;
    for (; end < kBuckets && k > buckets_[end].tokens; ++end) k -= buckets_[end].tokens;
    if (end == kBuckets) return;  // there are no more than k
    collect(end);
    const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::ranges::nth_element(candidates_, last, ranks_before);
    drop_behind(*last);
}

// The nucleus ends somewhere in [low, high) of a bucket's ranking. Halving that range around its median and
// asking whether the better half holds enough weight finds the end in linear time, even if all tokens are in
// one bucket.
void Distribution::keep_top_p(double p) {
    fill_buckets();
    double total = 0.0;
    std::size_t worst = 0;
    for (std::size_t b = 0; b < kBuckets; ++b) {
        total += buckets_[b].weight;
        if (buckets_[b].tokens > 0) worst = b;
    }
    double missing = p * total;
    std::size_t end = 0;
    for (; end < worst && missing > buckets_[end].weight; ++end) missing -= buckets_[end].weight;
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

void Distribution::keep_min_p(double part) {
    for (double& weight : weights_) weight = weight >= part ? weight : 0.0;
}

std::int32_t Distribution::draw(double uniform) {
    double passed = 0.0;
    for (double& weight : weights_) weight = passed += weight;
    auto drawn = std::upper_bound(weights_.begin(), weights_.end(), uniform * passed);
    // The product may have been rounded up to all of the weight.
    if (drawn == weights_.end()) drawn = std::lower_bound(weights_.begin(), weights_.end(), passed);
    CACHALOT_CHECK(passed > 0.0);
    return static_cast<std::int32_t>(drawn - weights_.begin());
}

}  // namespace cachalot
