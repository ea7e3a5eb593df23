// Routed experts in less memory than they take: some are kept in slots, the others are read from the model's
// files when a token needs them, or a little earlier.
//
// Which ones to keep is decided by ExpertCache, which the simulator drives with the same calls; this file
// does what they say. For one layer:
//
//     request   the experts that are in memory are pinned; for the others slots are found and reads started,
//               all together, or as many as a wave holds
//     next      first hands out those that are in memory, then whatever has arrived, waiting only if there is
//               nothing else to do. When all of a wave have been handed out and computed with, they are
//               released and the next wave is read.
//
// Meanwhile the disk reads what is needed next (read_ahead.h), as far as nobody waits for it: the rest of the
// layer; the experts of layers whose router is a table, known from the tokens before the pass begins; and in
// a pass over many tokens the experts of the next layer, of which hardly any will not be needed, those first
// that were used most; and where routers are tables, the experts of tokens that were drafted, before anybody
// knows whether they will be evaluated. When nothing of that is to be done, at the start, the experts that
// earlier sessions used most (expert_heat.h) are read into slots that are free. Of them those that have not
// begun give way when a slot is needed.
//
// An expert that cannot be read is read from elsewhere, if there are packs (expert_records.h), and everywhere
// once more; if that fails, too, and it was asked for, the pass ends with an Error. Its slot is free again;
// everything else that was under way is kept. The mapped pages of routed experts are never touched, so they
// take no memory.
#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "experts/expert_cache.h"
#include "experts/expert_heat.h"
#include "experts/expert_records.h"
#include "experts/expert_store.h"
#include "experts/read_ahead.h"
#include "experts/slot_memory.h"

namespace cachalot {

class StreamingExpertStore final : public ExpertStore, private ExpertSupply {
  public:
    // At most as many slots as there are experts are made, some of them to read ahead; the model must outlive
    // the store. With a heat file the hottest experts are read in the background, and the file is written now
    // and then and in the end. What cannot be read or written is logged. Throws Error if memory is short.
    StreamingExpertStore(const Model& model, int slots, std::unique_ptr<ReadQueue> queue = make_read_queue(),
                         std::optional<HeatFile> heat = {}, ExpertPacks packs = {}, Log log = {});
    ~StreamingExpertStore() override;

    void begin_pass(const Batch& batch) override;
    void expect(std::span<const std::int32_t> tokens) override;
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
    std::optional<std::size_t> asked(ExpertKey key) const;
    void await(std::size_t asked);
    void read(ExpertKey key, int memory, ReadClass urgency);
    int source_of(ExpertKey key) const;  // that is asked next time
    bool try_again(ExpertKey key);  // of one that failed: another source; false: all have been asked, twice
    void start_wave();              // places and reads missing experts until the wave is full
    int place(ExpertKey key);       // a slot; none if the wave has to end before
    void collect(bool wait);        // moves what has arrived to ready_
    void arrived(const BlockReader::Finished& finished, std::string& error);
    void drop(std::size_t asked);  // what cannot be read
    void release_held();
    void settle();  // ends the layer, however far it got
    std::vector<ExpertKey> of_tables(std::span<const std::int32_t> tokens) const;
    void read_ahead();
    void warm_up();
    bool make_way();  // for who needs a slot
    void save_heat();
    ExpertCacheStats::Traffic& traffic() { return in_prompt_ ? stats_.prompt : stats_.decode; }

    const Model& model_;
    const Log log_;
    ExpertRecords records_;
    ExpertCache cache_;
    ReadAhead ahead_;
    SlotMemory memory_;
    std::unordered_map<ExpertKey, int>
        attempts_;                          // that failed, of experts which could not be read everywhere
    std::vector<int> memory_of_;            // [slots of the cache]: which piece of memory a slot is
    std::vector<ExpertWeights> in_memory_;  // [pieces of memory]
    BlockReader reader_;                    // after the memory that it writes to; jobs are keys

    ExpertHeat heat_;
    std::filesystem::path heat_file_;  // empty: none
    int unsaved_tokens_ = 0;
    std::vector<ExpertKey> warming_;  // hottest first; pinned
    std::vector<char> is_warming_;    // [keys]

    int layer_ = -1;
    bool in_prompt_ = false;
    int whole_layers_end_ = 0;         // layers before this one will need nearly all experts in this pass
    std::vector<ExpertKey> known_;     // of layers whose router is a table, in this pass; ascending
    std::vector<ExpertKey> expected_;  // the same for tokens that may be evaluated soon
    bool just_expected_ = false;       // since the last pass began
    // The layer's experts. Those named by index are positions in `asked_`.
    std::vector<std::int32_t> asked_;
    std::vector<int> slots_;     // [asked]
    std::vector<char> awaited_;  // [asked], being read
    std::size_t awaited_count_ = 0;
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
