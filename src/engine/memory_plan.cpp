#include "engine/memory_plan.h"

#include <algorithm>

#include "experts/expert_budget.h"
#include "state/kv_layout.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kProgram = 100'000'000;  // with the tokenizer and small weights
constexpr int kLongestChunk = 4096;
constexpr std::uint64_t kSpareShare = 20;                      // one part in so many stays free
constexpr std::uint64_t kEngramShare = 100, kMostOfRoom = 16;  // one part in so many; see the header

// Of a drafter's passes: its rows with their logits, and for each sequence logits to choose from.
std::uint64_t draft_buffer_bytes(const DraftModel& drafter, int sequences) {
    const auto logits = static_cast<std::uint64_t>(drafter.config.vocab_size) * sizeof(float);
    const int rows = drafter.kind == DrafterKind::dspark ? drafter.block_size() : 1;
    return static_cast<std::uint64_t>(sequences) *
           (static_cast<std::uint64_t>(rows) * (pass_row_bytes(drafter.config) + logits) + logits);
}

}  // namespace

std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context,
                          const DraftModel* drafter) {
    const KvLayout layout(config, kv, all_layers(config), drafter);
    return layout.bytes_at(context) + layout.growth(0, 0);
}

// The buffers of layers/activations.h and of the CPU's operations, in their order.
std::uint64_t pass_row_bytes(const Config& c) {
    const std::int64_t H = c.hidden_size, I = c.expert_hidden_size, D = c.head_dim, heads = c.heads * D,
                       low = c.output_groups * std::int64_t(c.output_lora_rank), index = c.index_head_dim,
                       experts = c.experts_per_token + 1;
    bool pools = false, overlap = false, candidates = false;
    for (const LayerShape& shape : c.layer_shapes) {
        pools |= shape.ratio > 0;
        overlap |= shape.overlap;
        candidates |= shape.candidate_source >= 0;
    }
    std::int64_t ring = 0;  // bytes of a row of all rings of a layer, where long passes are computed
    const KvLayout layout(c, KvPrecision::reference);
    for (const LayerLayout& layer : layout.layers()) {
        std::int64_t row = 0;
        layer.each_ring(0, [&](const RowRing& r, std::int64_t) { row += r.row_bytes; });
        ring = std::max(ring, row);
    }
    const std::int64_t engram = c.engram.present() ? c.engram.input_size() : 0;
    const std::int64_t tables = std::ssize(c.engram.layers) * c.engram.rows_per_token() *
                                (c.engram.row_size * 33 / 32 + 24);  // E4M3, scales and numbers of rows
    std::int64_t floats = 6 * H +                                // streams, input and output of a sub-layer
                          3 * kStreams * (kStreams + 2) +        // their mixing
                          c.q_lora_rank + 2 * heads + D + low +  // queries, attention
                          c.rope_dim * 2 +                       // angles
                          c.experts + c.experts_per_token * (c.layers + 1) +  // choice of experts
                          experts * (2 * H + 2 * I);                          // their inputs and results
    if (pools)
        floats += 2 * (overlap ? 2 * D : D) + (c.index_compressor ? 4 * index : D + index) +
                  c.index_heads * (index + 1) + c.index_top_k;
    if (candidates) floats += c.candidate_blocks;
    if (engram) floats += engram + (kStreams + 1) * H;
    // Rounded to int8, with scales: inputs of products and of experts.
    const std::int64_t rounded = heads + std::max({H, low, engram}) + experts * (H + I);
    return static_cast<std::uint64_t>(4 * floats + tables + rounded * 9 / 8 + ring);
}

int streaming_chunk(const Config& config, std::uint64_t available) {
    int chunk = kLongestChunk;
    while (chunk > kResidentChunk &&
           static_cast<std::uint64_t>(chunk) * pass_row_bytes(config) > available / 8)
        chunk /= 2;
    return chunk;
}

MemoryPlan plan_memory(const ModelSize& size, const PlanRequest& request) {
    const Config& config = size.config;
    MemoryPlan plan;
    plan.available = request.available;
    plan.embedding = size.weights.embedding;
    plan.dense = size.weights.dense;
    plan.shared_experts = size.weights.shared_experts;
    plan.routed_experts = size.weights.routed_experts;
    plan.engram = size.weights.engram;
    const DraftModel* drafter = request.drafter ? size.drafter.model.get() : nullptr;
    if (drafter) plan.drafter = size.drafter.weights;
    plan.states = static_cast<std::uint64_t>(request.states);
    auto set_chunk = [&](int chunk) {
        plan.chunk = request.chunk > 0 ? request.chunk : chunk;
        plan.buffers = kProgram + static_cast<std::uint64_t>(plan.chunk) * pass_row_bytes(config);
        if (drafter) plan.buffers += draft_buffer_bytes(*drafter, request.sequences);
    };
    set_chunk(kResidentChunk);
    plan.spare = request.available / kSpareShare;
    const RouteHeader& header = size.experts;
    plan.experts = plan.slots = header.layers * header.experts;
    auto fits = [&] { return plan.needed() <= plan.available; };
    auto left = [&] { return plan.available - std::min(plan.available, plan.needed()); };
    auto stream_experts = [&](int slots) {
        plan.slots = slots;
        plan.expert_cache = static_cast<std::uint64_t>(slots) * header.largest_expert();
    };
    auto stream_tables = [&](std::uint64_t most) {
        plan.engram_buffers = size.engram_buffers;
        const std::uint64_t cache = std::min(plan.engram / kEngramShare, most);
        plan.engram_cache = request.engram_cache.value_or(cache < size.smallest_engram_cache ? 0 : cache);
    };
    const bool may_stream_tables = request.engram_cache.value_or(0) < plan.engram;

    const bool experts_named = request.expert_cache.has_value();
    if (experts_named && *request.expert_cache < plan.routed_experts) {
        set_chunk(streaming_chunk(config, plan.available));
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

    set_chunk(streaming_chunk(config, plan.available));
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
