// Which experts are in memory, and in which slot: the bookkeeping of the expert cache, without a byte of
// weights.
//
// The engine and the simulator drive the same object with the same calls, so that what a replayed trace
// predicts is what the engine does, counter by counter:
//
//     cache.begin_pass(1, false);
//     for every layer:
//         cache.select(layer, experts, counts, slots);    // pins those that are there
//         slots[i] = cache.place(key) for the others      // pins; the caller reads the weights into the slot
//         ... compute ...
//         cache.release(key) for all of them
//
// A pass over a long prompt needs nearly all experts of a layer. If all were pinned together, they would push
// everything else out, so that a caller that holds wave() experts computes with those and releases them
// before it places more.
//
// A pinned expert is never evicted. All slots have the same size, that of the largest expert, so that any
// expert fits into any slot and the memory is taken once and never given back. One thread owns the object.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "experts/policy/replacement_policy.h"

namespace cachalot {

class ExpertCache {
  public:
    static constexpr int kNoSlot = -1;

    // An expert chosen by several tokens of a pass is looked up once for all of them.
    struct Counters {
        std::uint64_t lookups = 0, hits = 0, misses = 0;
        bool operator==(const Counters&) const = default;
    };

    // Throws Error if there is no slot.
    ExpertCache(const CacheShape& shape, std::unique_ptr<ReplacementPolicy> policy);

    const CacheShape& shape() const { return shape_; }

    // Before the first pass: how often earlier sessions used an expert, see ReplacementPolicy.
    void expect(ExpertKey key, double rate) { policy_->expect(key, rate); }

    void begin_pass(int tokens, bool prompt);

    // The router's choice in a layer: `experts` in ascending order, each with the number of tokens of the
    // pass that chose it. (Were the order the router's, two runs that choose the same experts could differ in
    // what is evicted.) slots[i] becomes the slot of experts[i], pinned, or kNoSlot if it is not in memory.
    void select(int layer, std::span<const std::int32_t> experts, std::span<const std::int32_t> counts,
                std::span<int> slots);

    // Most experts that should be pinned at a time; never less than a token chooses in a layer, if there are
    // the slots.
    int wave() const { return std::max(std::min(shape_.slots, 16), shape_.slots / 8); }

    // A slot for an expert that is not in memory, pinned; another one may leave for it. kNoSlot if that would
    // have to be a pinned one: release something and ask again.
    int place(ExpertKey key);

    void release(ExpertKey key);

    // The expert's weights could not be read: its slot is free and holds nothing. Undoes place(), the pin
    // included.
    void drop(ExpertKey key);

    int slot(ExpertKey key) const { return slot_[key]; }
    int residents() const { return shape_.slots - static_cast<int>(free_.size()); }
    const Counters& decode() const { return decode_; }
    const Counters& prompt() const { return prompt_; }
    std::uint64_t evictions() const { return evictions_; }

  private:
    void evict(ExpertKey key);

    CacheShape shape_;
    std::unique_ptr<ReplacementPolicy> policy_;
    Pins pins_;
    std::vector<int> slot_;  // [keys]
    std::vector<int> free_;
    Counters decode_, prompt_;
    std::uint64_t evictions_ = 0;
    bool in_prompt_ = false;
};

}  // namespace cachalot
