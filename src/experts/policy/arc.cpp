// ARC (Megiddo and Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003).
//
// Two LRU lists of residents, T1 of what was used once and T2 of what was used again, and behind each a list
// of ghosts, B1 and B2: keys lately evicted from it. A miss that finds its ghost in B1 says that T1 was too
// short, one in B2 that T2 was, and the wanted length of T1 (`target_`, the paper's p) moves by one step in
// that direction.
//
// Two things differ because a layer's experts come together: all choices of a layer move the target before
// the first is admitted, and a list whose unpinned entries are used up lends the other one's.
#include <algorithm>

#include "experts/policy/key_lists.h"

namespace cachalot {
namespace {

class Arc final : public ReplacementPolicy {
  public:
    explicit Arc(const CacheShape& shape) : slots_(shape.slots), lists_(shape.keys(), 4) {}

    void on_select(ExpertKey key, int, bool resident) override {
        if (resident) return lists_.push_front(kT2, key);
        const double b1 = lists_.size(kB1), b2 = lists_.size(kB2);
        if (lists_.list_of(key) == kB1) target_ = std::min(target_ + std::max(b2 / b1, 1.0), double(slots_));
        if (lists_.list_of(key) == kB2) target_ = std::max(target_ - std::max(b1 / b2, 1.0), 0.0);
    }

    ExpertKey victim(ExpertKey incoming, const Pins& pins) override {
        const int t1 = lists_.size(kT1);
        const bool from_t1 = t1 > 0 && (t1 > target_ || (lists_.list_of(incoming) == kB2 && t1 == target_));
        const ExpertKey key = lists_.last_unpinned(from_t1 ? kT1 : kT2, pins);
        return key != kNoKey ? key : lists_.last_unpinned(from_t1 ? kT2 : kT1, pins);
    }

    void on_evict(ExpertKey key) override { lists_.push_front(lists_.list_of(key) == kT1 ? kB1 : kB2, key); }

    void on_admit(ExpertKey key) override {
        lists_.push_front(lists_.list_of(key) == KeyLists::kNone ? kT1 : kT2, key);
        // T1 and B1 together remember as many keys as there are slots, all four lists twice as many.
        while (lists_.size(kT1) + lists_.size(kB1) > slots_ && lists_.size(kB1) > 0)
            lists_.remove(lists_.back(kB1));
        while (total() > 2 * slots_ && lists_.size(kB2) > 0) lists_.remove(lists_.back(kB2));
    }

  private:
    enum { kT1, kT2, kB1, kB2 };
    int total() const { return lists_.size(kT1) + lists_.size(kT2) + lists_.size(kB1) + lists_.size(kB2); }

    int slots_;
    double target_ = 0;  // wanted length of T1
    KeyLists lists_;
};

}  // namespace

std::unique_ptr<ReplacementPolicy> make_arc(const CacheShape& shape) { return std::make_unique<Arc>(shape); }

}  // namespace cachalot
