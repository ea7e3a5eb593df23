#include "measure/divergence.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace cachalot {

Divergence diverge(const SavedRow& a, std::int32_t next, std::span<const float> logits_b) {
    const double norm = log_sum_exp(logits_b);
    auto logprob_b = [&](std::int32_t token) { return logits_b[static_cast<std::size_t>(token)] - norm; };
    Divergence d;
    d.nll_a = -a.next;
    d.nll_b = -logprob_b(next);
    double kept_b = 0;
    for (const auto& t : a.kept) {
        const double b = logprob_b(t.token);
        kept_b += std::exp(b);
        d.kl += std::exp(t.logprob) * (t.logprob - b);
    }
    // The rest of B is a difference of numbers near 1: no smaller than their rounding.
    if (std::isfinite(a.rest)) d.kl += std::exp(a.rest) * (a.rest - std::log(std::max(1 - kept_b, 1e-15)));
    const auto best = std::max_element(logits_b.begin(), logits_b.end()) - logits_b.begin();
    d.same_top = a.kept.front().token == best;
    return d;
}

void Comparer::begin_window() {
    for (BlockMean* m : {&nll_a_, &nll_b_, &difference_, &kl_, &same_top_}) m->begin_window();
}

void Comparer::add(std::size_t position, const Divergence& d) {
    nll_a_.add(d.nll_a);
    nll_b_.add(d.nll_b);
    difference_.add(d.nll_b - d.nll_a);
    kl_.add(d.kl);
    same_top_.add(d.same_top);
    kls_.push_back(d.kl);
    auto& bucket = buckets_[static_cast<std::size_t>(std::bit_width(position))];
    ++bucket.tokens;
    bucket.nll_a += d.nll_a;
    bucket.nll_b += d.nll_b;
    bucket.kl += d.kl;
    bucket.same_top += d.same_top;
}

Comparison Comparer::result() const {
    CACHALOT_CHECK(!kls_.empty());
    Comparison c;
    c.tokens = nll_a_.count();
    c.nll_a = nll_a_.mean();
    c.nll_b = nll_b_.mean();
    c.nll_difference = difference_.mean();
    c.kl = kl_.mean();
    c.same_top = same_top_.mean();
    c.kl_sorted = kls_;
    std::sort(c.kl_sorted.begin(), c.kl_sorted.end());
    c.kl_median = quantile(c.kl_sorted, 0.5);
    c.kl_p90 = quantile(c.kl_sorted, 0.9);
    c.kl_p99 = quantile(c.kl_sorted, 0.99);
    c.kl_p999 = quantile(c.kl_sorted, 0.999);
    c.kl_max = c.kl_sorted.back();
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
        auto bucket = buckets_[i];
        if (bucket.tokens == 0) continue;
        bucket.first = i == 0 ? 0 : std::int64_t(1) << (i - 1);
        bucket.last = i == 0 ? 0 : bucket.first * 2 - 1;
        for (double* sum : {&bucket.nll_a, &bucket.nll_b, &bucket.kl, &bucket.same_top})
            *sum /= static_cast<double>(bucket.tokens);
        c.by_position.push_back(bucket);
    }
    return c;
}

}  // namespace cachalot
