// Where the routed experts' weights come from.
//
// The forward pass asks for the experts of one layer after the other; it does not know whether they were
// mapped all along or have to be fetched (streaming_expert_store.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experts/cache_traffic.h"
#include "kernels/expert_supply.h"
#include "model/weights.h"
#include "state/batch.h"

namespace cachalot {

// What a cache of experts has done since it was made.
struct ExpertCacheStats {
    using Traffic = CacheTraffic;  // of experts
    Traffic decode, prompt;
    int slots = 0, experts = 0;      // that fit, that there are
    int ahead = 0;                   // places of the same size for experts that are read ahead
    int warming = 0;                 // that earlier sessions used most and that are still to be read
    int packs = 0;                   // files that experts are read from, beside the model's
    std::uint64_t failed_reads = 0;  // also of those that were then read from elsewhere
    std::uint64_t slot_bytes = 0;    // of an expert in memory
    bool locked = false;             // the memory cannot be swapped out
    bool direct = false;             // reads pass the page cache by
    const char* method = "";         // of reading: "io_uring" or "threads"
};

class ExpertStore {
  public:
    virtual ~ExpertStore() = default;

    // A pass over all layers begins.
    virtual void begin_pass(const Batch& batch) = 0;

    // These tokens may be evaluated in the next pass or the one after it.
    virtual void expect(std::span<const std::int32_t>) {}

    // The experts of a layer; valid until the next call.
    virtual ExpertSupply& layer(int layer) = 0;

    // None if there is no cache. May be called by any thread.
    virtual std::optional<ExpertCacheStats> stats() const { return {}; }
};

// All experts are mapped; the operating system pages them.
class ResidentExpertStore final : public ExpertStore {
  public:
    explicit ResidentExpertStore(const Weights& weights) {
        for (const auto& layer : weights.layers) layers_.emplace_back(layer.experts);
    }

    void begin_pass(const Batch&) override {}
    ExpertSupply& layer(int layer) override { return layers_[static_cast<std::size_t>(layer)]; }

  private:
    std::vector<ExpertsInMemory> layers_;
};

}  // namespace cachalot
