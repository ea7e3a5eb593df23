#include "engine/memory_plan.h"

#include <algorithm>

#include "experts/expert_budget.h"
#include "kernels/cpu/instruction_sets.h"
#include "kernels/cpu/scratch.h"
#include "state/kv_layout.h"

namespace cachalot {
namespace {

constexpr int kLongestChunk = 4096;
constexpr std::uint64_t kSpareShare = 20;                      // one part in so many stays free
constexpr std::uint64_t kEngramShare = 100, kMostOfRoom = 16;  // one part in so many; see the header

}  // namespace

std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context) {
    const KvLayout layout(config, kv);
    return layout.bytes_at(context) + layout.growth(0, 0);
}

// Measured with vocabularies of 129,280 tokens: the program with its threads, and for each token what the
// tokenizer has of it. Of an expert it is known where its matrices lie.
std::uint64_t program_bytes(const ModelSize& size) {
    const auto count = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    return 10'000'000 + 220 * count(size.config.vocab_size) + size.small_weights +
           3 * sizeof(Matrix) * count(size.experts.layers) * count(size.experts.experts);
}

// The buffers of layers/activations.h and of the CPU's operations, in their order.
std::uint64_t pass_row_bytes(const ModelSize& size, Precision precision) {
    const Config& c = size.config;
    const cpu::Table& kernels = cpu::choose_table({});
    cpu::ExpertScratch expert_scratch{c.experts_per_token + 1, c.hidden_size, c.expert_hidden_size, {}};
    for (const DType type : size.expert_types)
        expert_scratch.forms[static_cast<int>(cpu::form_of(type, precision, kernels))] = true;
    const auto rounded = [&](std::int64_t columns) {
        std::int64_t most = 0;
        for (const DType type : size.dense_types)
            most = std::max(most, cpu::rounded_bytes(cpu::form_of(type, precision, kernels), columns));
        return most;
    };
    const std::int64_t H = c.hidden_size, D = c.head_dim, heads = c.heads * D,
                       low = c.output_groups * std::int64_t(c.output_lora_rank), index = c.index_head_dim;
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
                          c.experts + c.experts_per_token * (c.layers + 1);  // choice of experts
    if (pools)
        floats += 2 * (overlap ? 2 * D : D) + (c.index_compressor ? 4 * index : D + index) +
                  c.index_heads * (index + 1) + c.index_top_k;
    if (candidates) floats += c.candidate_blocks;
    if (engram) floats += engram + (kStreams + 1) * H;
    // Inputs of products, which share their places: those of the groups of heads are there at once.
    const std::int64_t group = heads / c.output_groups;
    const std::int64_t inputs = rounded(std::max({H, low, engram, group})) + rounded(heads - group);
    return static_cast<std::uint64_t>(4 * floats + tables + inputs + expert_scratch.bytes() + ring);
}

int streaming_chunk(const ModelSize& size, std::uint64_t available, Precision precision) {
    const std::uint64_t row = pass_row_bytes(size, precision);
    int chunk = kLongestChunk;
    while (chunk > kResidentChunk && static_cast<std::uint64_t>(chunk) * row > available / 8) chunk /= 2;
    return chunk;
}

MemoryPlan plan_memory(const ModelSize& size, const PlanRequest& request) {
    const std::uint64_t program = program_bytes(size), row = pass_row_bytes(size, request.precision);
    const auto longest = [&] { return streaming_chunk(size, request.available, request.precision); };
    MemoryPlan plan;
    plan.available = request.available;
    plan.embedding = size.weights.embedding;
    plan.dense = size.weights.dense;
    plan.shared_experts = size.weights.shared_experts;
    plan.routed_experts = size.weights.routed_experts;
    plan.engram = size.weights.engram;
    plan.states = static_cast<std::uint64_t>(request.states);
    auto set_chunk = [&](int chunk) {
        plan.chunk = request.chunk > 0 ? request.chunk : chunk;
        plan.buffers = program + static_cast<std::uint64_t>(plan.chunk) * row;
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
        set_chunk(longest());
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

    set_chunk(longest());
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
