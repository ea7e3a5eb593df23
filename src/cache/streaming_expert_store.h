// Routed experts in less memory than they take: some are kept in slots, the others are read from the model's files when
// a token needs them.
//
// Which ones to keep is decided by ExpertCache, which the simulator drives with the same calls; this file does what they
// say. For one layer:
//
//     request   the experts that are in memory are pinned; for the others slots are found and reads started, all
//               together, or as many as a wave holds
//     next      first hands out those that are in memory, then whatever has arrived, waiting only if there is nothing
//               else to do. When all of a wave have been handed out and computed with, they are released and the next
//               wave is read.
//
// An expert that cannot be read ends the pass with an Error. Its slot is free again; everything else that was under way
// is waited for and kept. The mapped pages of routed experts are never touched, so they take no memory.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "cache/expert_cache.h"
#include "cache/expert_records.h"
#include "cache/expert_store.h"
#include "cache/slot_memory.h"

namespace cachalot {

class StreamingExpertStore final : public ExpertStore, private ExpertSupply {
  public:
    // At most as many slots as there are experts are made; the model must outlive the store. Throws Error if memory
    // is short.
    StreamingExpertStore(const Model& model, int slots, std::unique_ptr<ReadQueue> queue = make_read_queue());

    void begin_pass(int tokens, bool prompt) override;
    ExpertSupply& layer(int layer) override;
    std::optional<ExpertCacheStats> stats() const override;  // by any thread

    std::uint64_t evictions() const { return cache_.evictions(); }

  private:
    const ExpertWeights& layout(std::int32_t expert) const override {
        return records_.mapped(layer_, expert);
    }
    void request(std::span<const std::int32_t> experts, std::span<const std::int32_t> rows) override;
    std::size_t next(std::span<const ExpertWeights*> weights) override;

    ExpertKey key(std::size_t asked) const { return cache_.shape().key(layer_, asked_[asked]); }
    void read(std::size_t asked);
    void start_wave();             // places and reads missing experts until the wave is full
    void collect(bool wait);       // moves what has arrived to ready_
    void drop(std::size_t asked);  // what cannot be read
    void release_held();
    void settle();  // ends the layer, however far it got
    ExpertCacheStats::Traffic& traffic() { return in_prompt_ ? stats_.prompt : stats_.decode; }

    ExpertRecords records_;
    ExpertCache cache_;
    SlotMemory memory_;
    std::vector<ExpertWeights> in_slot_;  // [slots]
    BlockReader reader_;                  // after the memory that it writes to

    int layer_ = 0;
    bool in_prompt_ = false;
    // The layer's experts. Those named by index are positions in `asked_`.
    std::vector<std::int32_t> asked_;
    std::vector<int> slots_;            // [asked]
    std::vector<std::size_t> missing_;  // not placed yet, from next_missing_ on
    std::size_t next_missing_ = 0;
    std::vector<ExpertKey> held_;     // pinned
    std::vector<std::size_t> ready_;  // in memory and not handed out
    bool wave_full_ = false;          // what is held has to be released before the next can be placed
    bool first_call_ = false;         // of next()

    mutable std::mutex stats_mutex_;
    ExpertCacheStats stats_;
};

}  // namespace cachalot
