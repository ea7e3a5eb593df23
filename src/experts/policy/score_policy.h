// What the policies share that evict the resident expert with the lowest score, of equals the least recently
// used. The score is looked up at the time of eviction, by a pass over the residents: some thousand
// comparisons take microseconds, the read that follows takes milliseconds.
#pragma once

#include <vector>

#include "experts/policy/replacement_policy.h"

namespace cachalot {

class ScorePolicy : public ReplacementPolicy {
  public:
    explicit ScorePolicy(const CacheShape& shape)
        : position_(shape.keys(), kAbsent), last_use_(shape.keys(), 0) {}

    void on_select(ExpertKey key, int count, bool resident) final {
        last_use_[key] = ++clock_;
        count_selection(key, count, resident);
    }

    ExpertKey victim(ExpertKey, const Pins& pins) final {
        ExpertKey best = kNoKey;
        double best_score = 0;
        for (const ExpertKey key : residents_) {
            if (pins.pinned(key)) continue;
            const double s = score(key);
            if (best != kNoKey && (s > best_score || (s == best_score && last_use_[key] > last_use_[best])))
                continue;
            best = key;
            best_score = s;
        }
        return best;
    }

    void on_evict(ExpertKey key) final {
        const std::uint32_t hole = position_[key];
        residents_[hole] = residents_.back();
        position_[residents_[hole]] = hole;
        residents_.pop_back();
        position_[key] = kAbsent;
        forget(key);
    }

    void on_admit(ExpertKey key) final {
        position_[key] = static_cast<std::uint32_t>(residents_.size());
        residents_.push_back(key);
        remember(key);
    }

  protected:
    virtual double score(ExpertKey key) = 0;
    virtual void count_selection(ExpertKey key, int count, bool resident) = 0;
    virtual void remember(ExpertKey key) { (void)key; }  // admitted
    virtual void forget(ExpertKey key) { (void)key; }    // evicted

  private:
    static constexpr std::uint32_t kAbsent = ~std::uint32_t(0);
    std::vector<ExpertKey> residents_;
    std::vector<std::uint32_t> position_;  // [keys], index into residents_
    std::vector<std::uint64_t> last_use_;  // [keys]
    std::uint64_t clock_ = 0;
};

}  // namespace cachalot
