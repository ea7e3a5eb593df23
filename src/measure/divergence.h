// How far the predictions of one model are from those of another on the same text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "measure/saved_logits.h"
#include "measure/statistics.h"

namespace cachalot {

// At one position. A is the reference.
struct Divergence {
    double nll_a = 0, nll_b = 0;  // of the token that follows
    double kl = 0;                // KL(A || B) in nats; the tokens that A's row does not keep count as one
    bool same_top = false;        // both find the same token most probable
};

Divergence diverge(const SavedRow& a, std::int32_t next, std::span<const float> logits_b);

// Of a whole text.
struct Comparison {
    std::int64_t tokens = 0;
    Mean nll_a, nll_b, nll_difference;  // B - A
    Mean kl, same_top;
    double kl_median = 0, kl_p90 = 0, kl_p99 = 0, kl_p999 = 0, kl_max = 0;
    std::vector<double> kl_sorted;

    // By how many tokens were before in the window: [0, 1), [1, 2), [2, 4), [4, 8), ...
    struct Bucket {
        std::int64_t first = 0, last = 0;  // positions, inclusive
        std::int64_t tokens = 0;
        double nll_a = 0, nll_b = 0, kl = 0, same_top = 0;  // means
    };
    std::vector<Bucket> by_position;
};

class Comparer {
  public:
    void begin_window();
    void add(std::size_t position, const Divergence& d);  // in order
    Comparison result() const;                            // of at least one position

  private:
    BlockMean nll_a_, nll_b_, difference_, kl_, same_top_;
    std::vector<double> kls_;
    std::array<Comparison::Bucket, 64> buckets_;  // sums
};

}  // namespace cachalot
