// S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023).
//
// Three queues: a small one (a tenth of the slots) that every new key enters, the main one, and ghosts, as
// many as the main queue is long. What was used twice while in the small queue moves to the main one, the
// rest leaves and becomes a ghost; a ghost that returns goes to the main queue at once. The main queue gives
// its tail another round for each use, of which it counts three at most.
#include <algorithm>

#include "experts/policy/key_lists.h"

namespace cachalot {
namespace {

class S3Fifo final : public ReplacementPolicy {
  public:
    explicit S3Fifo(const CacheShape& shape)
        : small_slots_(std::max(1, shape.slots / 10)),
          main_slots_(std::max(0, shape.slots - small_slots_)),
          lists_(shape.keys(), 3),
          uses_(shape.keys(), 0) {}

    void on_select(ExpertKey key, int, bool resident) override {
        if (resident) uses_[key] = static_cast<std::uint8_t>(std::min(uses_[key] + 1, 3));
    }

    ExpertKey victim(ExpertKey, const Pins& pins) override {
        if (lists_.size(kSmall) >= small_slots_ || lists_.size(kMain) == 0) {
            const ExpertKey key = from_small(pins);
            if (key != kNoKey) return key;
        }
        const ExpertKey key = from_main(pins);
        return key != kNoKey ? key : lists_.last_unpinned(kSmall, pins);
    }

    void on_evict(ExpertKey key) override {
        const bool ghost = lists_.list_of(key) == kSmall;
        lists_.remove(key);
        uses_[key] = 0;
        if (!ghost) return;
        lists_.push_front(kGhost, key);
        while (lists_.size(kGhost) > main_slots_) lists_.remove(lists_.back(kGhost));
    }

    void on_admit(ExpertKey key) override {
        lists_.push_front(lists_.list_of(key) == kGhost ? kMain : kSmall, key);
        uses_[key] = 0;
    }

  private:
    enum { kSmall, kMain, kGhost };

    // The oldest key of the small queue that was not used twice; those that were move to the main queue,
    // which may have to give one up for it.
    ExpertKey from_small(const Pins& pins) {
        for (ExpertKey key = lists_.back(kSmall), next; key != kNoKey; key = next) {
            next = lists_.before(key);
            if (pins.pinned(key)) continue;
            if (uses_[key] <= 1) return key;
            lists_.push_front(kMain, key);
            uses_[key] = 0;
            if (lists_.size(kMain) > main_slots_) {
                const ExpertKey evicted = from_main(pins);
                if (evicted != kNoKey) return evicted;
            }
        }
        return kNoKey;
    }

    ExpertKey from_main(const Pins& pins) {
        // Every round takes one from each counter, none of which is above three.
        for (int round = 0; round < 4; ++round) {
            ExpertKey key = lists_.back(kMain);
            for (int left = lists_.size(kMain); left > 0; --left) {
                const ExpertKey next = lists_.before(key);
                if (!pins.pinned(key)) {
                    if (uses_[key] == 0) return key;
                    --uses_[key];
                    lists_.push_front(kMain, key);
                }
                key = next;
            }
        }
        return kNoKey;
    }

    int small_slots_, main_slots_;
    KeyLists lists_;
    std::vector<std::uint8_t> uses_;  // [keys], 0..3
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_s3_fifo(const CacheShape& shape) {
    return std::make_unique<S3Fifo>(shape);
}

}  // namespace cachalot
