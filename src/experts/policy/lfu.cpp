// Least frequently used: how often was an expert chosen since the program started, cached or not.
//
// It never forgets: what a long prompt about one subject needed keeps its slots through the next subject. The
// ageing variant halves all counts every 16 tokens, the way ds4 (github.com/antirez/ds4,
// docs/SSD_STREAMING.md) does it, so that a count is about as old as the last paragraph.
#include "experts/policy/score_policy.h"

namespace cachalot {
namespace {

class Lfu : public ScorePolicy {
  public:
    explicit Lfu(const CacheShape& shape) : ScorePolicy(shape), uses_(shape.keys(), 0) {}

  protected:
    double score(ExpertKey key) final { return uses_[key]; }
    void count_selection(ExpertKey key, int count, bool) final {
        uses_[key] += static_cast<std::uint32_t>(count);
    }

    std::vector<std::uint32_t> uses_;  // [keys]
};

class AgeingLfu final : public Lfu {
  public:
    using Lfu::Lfu;

    void begin_pass(int tokens, bool) override {
        constexpr int kPeriod = 16;
        age_ += tokens;
        // A long prompt counts as one period: its own choices come after this.
        if (age_ < kPeriod) return;
        age_ %= kPeriod;
        for (auto& uses : uses_) uses >>= 1;
    }

  private:
    int age_ = 0;  // tokens since the last halving
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_lfu(const CacheShape& shape) { return std::make_unique<Lfu>(shape); }

std::unique_ptr<ReplacementPolicy> make_ageing_lfu(const CacheShape& shape) {
    return std::make_unique<AgeingLfu>(shape);
}

}  // namespace cachalot
