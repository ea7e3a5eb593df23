#include "engine/memory_plan.h"

#include <algorithm>

#include "experts/expert_budget.h"
#include "experts/expert_records.h"
#include "experts/streaming_engram_store.h"
#include "model/cost.h"
#include "state/kv_layout.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kProgram = 100'000'000;  // with the tokenizer and small weights
constexpr int kLongestChunk = 4096;
constexpr std::uint64_t kSpareShare = 20;                      // one part in so many stays free
constexpr std::uint64_t kEngramShare = 100, kMostOfRoom = 16;  // one part in so many; see the header

}  // namespace

std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context) {
    const KvLayout layout(config, kv);
    return layout.bytes_at(context) + layout.growth(0, 0);
}

std::uint64_t pass_row_bytes(const Config& c) {
    const std::int64_t H = c.hidden_size, I = c.expert_hidden_size, experts = c.experts_per_token + 1;
    const std::int64_t floats = 6 * H +  // streams, input and output of a sub-layer
                                2 * c.heads * std::int64_t(c.head_dim) +  // queries, attention
                                c.output_groups * std::int64_t(c.output_lora_rank) +
                                experts * (2 * H + 2 * I) +  // inputs, gate and up, results
                                (c.engram.present() ? c.engram.input_size() + (kStreams + 1) * H : 0);
    const std::int64_t tables = std::ssize(c.engram.layers) * c.engram.rows_per_token() *
                                (c.engram.row_size * 33 / 32 + 24);  // E4M3, scales and numbers of rows
    return static_cast<std::uint64_t>(4 * floats + tables +
                                      experts * (H + I) * 9 / 8);  // rounded to int8, with scales
}

int streaming_chunk(const Config& config, std::uint64_t available) {
    int chunk = kLongestChunk;
    while (chunk > kResidentChunk &&
           static_cast<std::uint64_t>(chunk) * pass_row_bytes(config) > available / 8)
        chunk /= 2;
    return chunk;
}

MemoryPlan plan_memory(const Model& model, const PlanRequest& request) {
    const ExpertRecords records(model);
    const WeightBytes weights = weight_bytes(model.config, model.weights);
    MemoryPlan plan;
    plan.available = request.available;
    plan.embedding = weights.embedding;
    plan.dense = weights.dense;
    plan.shared_experts = weights.shared_experts;
    plan.routed_experts = weights.routed_experts;
    plan.engram = weights.engram;
    plan.states = static_cast<std::uint64_t>(request.states);
    auto set_chunk = [&](int chunk) {
        plan.chunk = request.chunk > 0 ? request.chunk : chunk;
        plan.buffers = kProgram + static_cast<std::uint64_t>(plan.chunk) * pass_row_bytes(model.config);
    };
    set_chunk(kResidentChunk);
    plan.spare = request.available / kSpareShare;
    const auto& header = records.header();
    plan.experts = plan.slots = header.layers * header.experts;
    auto fits = [&] { return plan.needed() <= plan.available; };
    auto left = [&] { return plan.available - std::min(plan.available, plan.needed()); };
    auto stream_experts = [&](int slots) {
        plan.slots = slots;
        plan.expert_cache = static_cast<std::uint64_t>(slots) * header.largest_expert();
    };
    auto stream_tables = [&](std::uint64_t most) {
        plan.engram_buffers = StreamingEngramStore::buffer_bytes(model);
        const std::uint64_t cache = std::min(plan.engram / kEngramShare, most);
        plan.engram_cache =
            request.engram_cache.value_or(cache < StreamingEngramStore::smallest_cache(model) ? 0 : cache);
    };
    const bool may_stream_tables = request.engram_cache.value_or(0) < plan.engram;

    const bool experts_named = request.expert_cache.has_value();
    if (experts_named && *request.expert_cache < plan.routed_experts) {
        set_chunk(streaming_chunk(model.config, plan.available));
        stream_experts(slots_of(header, *request.expert_cache));
    }
    if (may_stream_tables && (request.engram_cache || !fits())) {
        stream_tables(0);
        stream_tables(left());
    }
    if (fits()) return plan;
    if (experts_named) {
        plan.missing = plan.needed() - plan.available;
        return plan;
    }

    set_chunk(streaming_chunk(model.config, plan.available));
    auto room = [&] {
        return plan.available - std::min(plan.available, plan.needed() - plan.routed_experts);
    };
    if (may_stream_tables) stream_tables(room() / kMostOfRoom);
    const int least = std::min(plan.experts, 2 * header.top_k);  // those of a token, and as many on their way
    stream_experts(std::max(slots_of(header, room()), least));
    plan.missing = plan.needed() - std::min(plan.needed(), plan.available);
    return plan;
}

}  // namespace cachalot
