#include "experts/expert_cache.h"

#include "base/error.h"

namespace cachalot {

ExpertCache::ExpertCache(const CacheShape& shape, std::unique_ptr<ReplacementPolicy> policy)
    : shape_(shape), policy_(std::move(policy)), pins_(shape.keys()), slot_(shape.keys(), kNoSlot) {
    if (shape.slots <= 0) fail("the expert cache holds not a single expert");
    for (int slot = shape.slots; slot-- > 0;) free_.push_back(slot);
}

void ExpertCache::begin_pass(int tokens, bool prompt) {
    CACHALOT_CHECK(tokens > 0);
    in_prompt_ = prompt;
    policy_->begin_pass(tokens, prompt);
}

void ExpertCache::select(int layer, std::span<const std::int32_t> experts,
                         std::span<const std::int32_t> counts, std::span<int> slots) {
    CACHALOT_CHECK(experts.size() == counts.size() && experts.size() == slots.size());
    Counters& counters = in_prompt_ ? prompt_ : decode_;
    for (std::size_t i = 0; i < experts.size(); ++i) {
        CACHALOT_CHECK(i == 0 || experts[i - 1] < experts[i]);
        const ExpertKey key = shape_.key(layer, experts[i]);
        slots[i] = slot_[key];
        const bool hit = slots[i] != kNoSlot;
        policy_->on_select(key, counts[i], hit);
        ++counters.lookups;
        ++(hit ? counters.hits : counters.misses);
        if (hit) pins_.pin(key);
    }
}

int ExpertCache::place(ExpertKey key) {
    CACHALOT_CHECK(slot_[key] == kNoSlot);
    if (free_.empty() || policy_->must_evict(key)) {
        const ExpertKey leaving = policy_->victim(key, pins_);
        if (leaving == kNoKey) return kNoSlot;
        CACHALOT_CHECK(!pins_.pinned(leaving));
        evict(leaving);
        ++evictions_;
    }
    slot_[key] = free_.back();
    free_.pop_back();
    policy_->on_admit(key);
    pins_.pin(key);
    return slot_[key];
}

void ExpertCache::release(ExpertKey key) {
    CACHALOT_CHECK(pins_.pinned(key));
    pins_.unpin(key);
}

void ExpertCache::drop(ExpertKey key) {
    release(key);
    CACHALOT_CHECK(!pins_.pinned(key));
    evict(key);
}

void ExpertCache::evict(ExpertKey key) {
    CACHALOT_CHECK(slot_[key] != kNoSlot);
    policy_->on_evict(key);
    free_.push_back(slot_[key]);
    slot_[key] = kNoSlot;
}

}  // namespace cachalot
