// What of a model fits into memory, and how much of it the cache of experts should get where not all does.
//
// All weights but the routed experts are read for every token, so they have to stay in memory, and so have
// the attention states. Experts get what is left: all of them if they fit (they are mapped then, and no cache
// is needed), else as many slots as there is room for. A little is left to others and for files that the
// system caches.
//
// Engram tables may stay on disk, as a token reads some dozens of small rows of them. If they fit into what
// is left when everything else does, they stay in memory. Else a cache of rows (row_cache.h) gets a hundredth
// of their size, which has the rows of frequent words and pairs of them: two gigabytes for the real model.
// Where experts have to be streamed it gets no more than a sixteenth of what there is for both, since a
// missing expert is read for three thousand times as long as a missing row.
//
// With a cache, nearly all experts are read once for every pass over a prompt, so passes should be long:
// 4,096 tokens if what is in between takes no more than an eighth of the memory (for V4-Flash 0.8 MB a
// token), else a half or a quarter of that. Mapped experts are in memory anyhow, and 512 tokens are enough.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/model_size.h"
#include "state/kv_state.h"

namespace cachalot {

struct PlanRequest {
    std::uint64_t available = 0;  // bytes of memory
    std::int64_t states = 0;      // bytes of attention states; see states_bytes()
    int chunk = 0;                // tokens of a prompt that are evaluated together; 0: as is best
    // For routed experts, and for rows of Engram tables. As much as all of them take: they stay in memory.
    // None: as is best.
    std::optional<std::uint64_t> expert_cache = {}, engram_cache = {};
    bool drafter = false;  // the model's is used, if it has one
    int sequences = 1;     // that are written at once
};

// Bytes, unless said otherwise.
struct MemoryPlan {
    std::uint64_t available = 0;
    std::uint64_t embedding = 0, dense = 0, shared_experts = 0, routed_experts = 0;  // weights
    std::uint64_t drafter = 0;                                                       // its weights
    std::uint64_t engram = 0;          // tables; on disk they need no memory
    std::uint64_t engram_cache = 0;    // of rows of tables that stay on disk
    std::uint64_t engram_buffers = 0;  // through which they are read; 0: they stay in memory
    std::uint64_t states = 0;          // attention states
    std::uint64_t buffers = 0;         // intermediate results, the drafter's too, the tokenizer, the program
    std::uint64_t spare = 0;           // left to others
    std::uint64_t expert_cache = 0;    // of slots for routed experts; 0: all are mapped
    int slots = 0, experts = 0;        // experts: all of them
    int chunk = 0;                     // tokens of a prompt that are evaluated together
    std::uint64_t missing = 0;         // more than there is, even with the smallest cache that makes sense

    bool resident() const { return expert_cache == 0; }
    bool engram_on_disk() const { return engram_buffers > 0; }
    std::uint64_t needed() const {  // with experts and tables as planned
        return embedding + dense + shared_experts + drafter + states + buffers + spare +
               (resident() ? routed_experts : expert_cache) +
               (engram_on_disk() ? engram_cache + engram_buffers : engram);
    }
};

// Of one sequence of that many tokens, with what a drafter keeps in it.
std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context,
                          const DraftModel* drafter = nullptr);

// Of intermediate results, for each token of a pass.
std::uint64_t pass_row_bytes(const Config& config);

// Tokens of a pass over a prompt.
constexpr int kResidentChunk = 512;
int streaming_chunk(const Config& config, std::uint64_t available);

MemoryPlan plan_memory(const ModelSize& size, const PlanRequest& request);
inline MemoryPlan plan_memory(const Model& model, const PlanRequest& request) {
    return plan_memory(size_of(model), request);
}

}  // namespace cachalot
