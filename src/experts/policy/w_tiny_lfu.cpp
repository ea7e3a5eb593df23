// W-TinyLFU (Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission policy", ACM
// Transactions on Storage 13(4), 2017).
//
// New keys enter a window (LRU, one percent of the slots). What leaves the window stays only if it was used
// more often than the key that the main cache would evict for it. The main cache is a segmented LRU:
// probation, and four fifths of it protected, for what was used again on probation. Frequencies go up to 15
// and are halved after ten uses per slot. The paper keeps them in a sketch because it has millions of keys;
// here each has its own counter.
#include <algorithm>

#include "experts/policy/key_lists.h"

namespace cachalot {
namespace {

class WTinyLfu final : public ReplacementPolicy {
  public:
    explicit WTinyLfu(const CacheShape& shape)
        : slots_(shape.slots),
          window_slots_(std::max(1, shape.slots / 100)),
          protected_slots_((shape.slots - window_slots_) * 4 / 5),
          lists_(shape.keys(), 3),
          uses_(shape.keys(), 0) {}

    void on_select(ExpertKey key, int count, bool resident) override {
        uses_[key] = static_cast<std::uint8_t>(std::min(uses_[key] + count, 15));
        if (++selections_ >= 10 * std::int64_t(slots_)) {
            for (auto& uses : uses_) uses = static_cast<std::uint8_t>(uses >> 1);
            selections_ /= 2;
        }
        if (!resident) return;
        if (lists_.list_of(key) == kWindow) return lists_.push_front(kWindow, key);
        lists_.push_front(kProtected, key);
        while (lists_.size(kProtected) > protected_slots_)
            lists_.push_front(kProbation, lists_.back(kProtected));
    }

    ExpertKey victim(ExpertKey, const Pins& pins) override {
        ExpertKey settled = lists_.last_unpinned(kProbation, pins);
        if (settled == kNoKey) settled = lists_.last_unpinned(kProtected, pins);
        const bool overflows = lists_.size(kWindow) >= window_slots_ || settled == kNoKey;
        const ExpertKey candidate = overflows ? lists_.last_unpinned(kWindow, pins) : kNoKey;
        if (candidate == kNoKey) return settled;
        if (settled == kNoKey || uses_[candidate] <= uses_[settled]) return candidate;
        lists_.push_front(kProbation, candidate);
        return settled;
    }

    void on_evict(ExpertKey key) override { lists_.remove(key); }

    void on_admit(ExpertKey key) override {
        lists_.push_front(kWindow, key);
        while (lists_.size(kWindow) > window_slots_) lists_.push_front(kProbation, lists_.back(kWindow));
    }

  private:
    enum { kWindow, kProbation, kProtected };

    int slots_, window_slots_, protected_slots_;
    KeyLists lists_;
    std::vector<std::uint8_t> uses_;  // [keys], 0..15
    std::int64_t selections_ = 0;     // since the last halving
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_w_tiny_lfu(const CacheShape& shape) {
    return std::make_unique<WTinyLfu>(shape);
}

}  // namespace cachalot
