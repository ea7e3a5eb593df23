// What of a model fits into memory, and how much of it the cache of experts should get where not all does.
//
// All weights but the routed experts are read for every token, so they have to stay in memory, and so have
// the attention states. Experts get what is left: all of them if they fit (they are mapped then, and no cache
// is needed), else as many slots as there is room for. A little is left to others and for files that the
// system caches.
//
// Engram tables stay on disk. If they fit beside all the rest they are mapped; else a hundredth of them, or
// what is left, is for rows that are kept in memory: which rows come again and again the text decides, and
// few of them do most of the work.
//
// With a cache, nearly all experts are read once for every pass over a prompt, so passes should be long:
// 4,096 tokens if what is in between takes no more than an eighth of the memory (for V4-Flash 0.8 MB a
// token), else a half or a quarter of that. Mapped experts are in memory anyhow, and 512 tokens are enough.
#pragma once

#include <cstdint>

#include "engine/model_size.h"
#include "state/kv_state.h"

namespace cachalot {

struct PlanRequest {
    std::uint64_t available = 0;  // bytes of memory
    std::int64_t states = 0;      // bytes of attention states; see states_bytes()
    int chunk = 0;                // tokens of a prompt that are evaluated together; 0: as is best
};

// Bytes, unless said otherwise.
struct MemoryPlan {
    std::uint64_t available = 0;
    std::uint64_t embedding = 0, dense = 0, shared_experts = 0, routed_experts = 0;  // weights
    std::uint64_t engram = 0;        // tables, which stay on disk
    std::uint64_t engram_cache = 0;  // of rows of them; 0: there are none, or they are mapped
    std::uint64_t states = 0;        // attention states
    std::uint64_t buffers = 0;       // intermediate results, the tokenizer, the program
    std::uint64_t spare = 0;         // left to others
    std::uint64_t expert_cache = 0;  // of slots for routed experts; 0: all are mapped
    int slots = 0, experts = 0;      // experts: all of them
    int chunk = 0;                   // tokens of a prompt that are evaluated together
    std::uint64_t missing = 0;       // more than there is, even with the smallest cache that makes sense

    bool resident() const { return expert_cache == 0; }
    std::uint64_t needed() const {  // with experts as planned
        return embedding + dense + shared_experts + engram_cache + states + buffers + spare +
               (resident() ? routed_experts : expert_cache);
    }
    bool tables_resident() const { return resident() && needed() + engram <= available; }
};

// Of one sequence of that many tokens.
std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context);

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
