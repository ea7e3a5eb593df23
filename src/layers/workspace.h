// The buffers of one forward pass, kept from call to call. Nothing here outlives a pass but the memory itself; between
// layers only the residual streams carry meaning.
#pragma once

#include <deque>

#include "base/aligned.h"
#include "base/trace.h"
#include "layers/rope.h"

namespace cachalot {

struct Workspace {
    explicit Workspace(const Config& config) : rope(config) {}

    Trace* trace = nullptr;  // where passes are recorded, if anywhere
    RopeTables rope;
    AlignedBuffer<float> streams;                 // [rows, 4, H]
    AlignedBuffer<float> x;                       // [rows, H] input of a sub-layer
    AlignedBuffer<float> out;                     // [rows, H] output of a sub-layer
    AlignedBuffer<float> post, comb;              // [rows, 4], [rows, 4, 4]
    AlignedBuffer<float> q_low, q, attended;      // [rows, q_lora_rank], 2 x [rows, heads, D]
    AlignedBuffer<float> kv;                      // [rows, D]
    AlignedBuffer<float> output_low;              // [rows, groups * output_lora_rank]
    AlignedBuffer<float> pool_kv, pool_gate;      // [rows, width] of the compressor
    AlignedBuffer<float> index_kv, index_gate;    // [rows, width] of the indexer's compressor
    AlignedBuffer<float> index_q, index_weights;  // [rows, index_heads, index_head_dim], [rows, index_heads]
    AlignedBuffer<std::int32_t> selected;         // [rows, index_top_k]
    AlignedBuffer<float> router_logits;           // [rows, E]
    AlignedBuffer<std::int32_t> expert_ids;       // [rows, k]
    AlignedBuffer<float> expert_weights;          // [rows, k]
    AlignedBuffer<float> logits;                  // [rows asked for, vocab]

    // Scratch of the rings that long chunks are computed in: one for each ring of each sequence.
    std::deque<AlignedBuffer<std::byte>> rings;
};

}  // namespace cachalot
