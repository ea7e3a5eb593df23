// What flows inside a pass on the host. Nothing here outlives a pass but the memory itself; between layers
// only the residual streams carry meaning. The memory is the device's: only work on its stream looks at it.
#pragma once

#include <deque>

#include "device/buffer.h"

namespace cachalot {

struct Activations {
    explicit Activations(std::shared_ptr<Device> of) : device(std::move(of)) {}

    std::shared_ptr<Device> device;

    Buffer<float> streams{device};     // X [rows, 4, H]
    Buffer<float> x{device};           // [rows, H] input of a sub-layer
    Buffer<float> out{device};         // [rows, H] output of a sub-layer
    Buffer<float> delayed{device};     // [rows, 4] weights of the next sub-layer's mix, where it is delayed
    Buffer<float> post{device};        // [rows, 4]
    Buffer<float> comb{device};        // [rows, 4, 4]
    Buffer<float> q_low{device};       // [rows, q_lora_rank]
    Buffer<float> q{device};           // [rows, heads, D]
    Buffer<float> attended{device};    // [rows, heads, D]
    Buffer<float> kv{device};          // [rows, D]
    Buffer<float> output_low{device};  // [rows, groups * output_lora_rank]
    Buffer<float> pool_kv{device};     // [rows, width] of the compressor
    Buffer<float> pool_gate{device};   // [rows, width]
    Buffer<float> index_kv{device};    // [rows, width] of the indexer's compressor
    Buffer<float> index_gate{device};  // [rows, width]
    Buffer<float> index_q{device};     // [rows, index_heads, index_head_dim]
    Buffer<float> index_weights{device};      // [rows, index_heads]
    Buffer<float> latents{device};            // [new compressed rows, D] before their rotation
    Buffer<float> keys{device};               // [new compressed rows, index_head_dim]
    Buffer<std::int32_t> candidates{device};  // [rows, candidate_blocks]
    Buffer<float> engram_rows{device};        // [rows, EngramConfig::input_size()]
    Buffer<float> engram_kv{device};          // [rows, 5, H]
    Buffer<std::int32_t> selected{device};    // [rows, index_top_k]
    Buffer<float> taps{device};               // [rows, target layers, H] for the drafter
    Buffer<float> absorbed{device};           // [rows, H] likewise
    Buffer<float> carried{device};         // [rows, 4, H] streams behind the last layer, of the token before
    Buffer<float> joined{device};          // [rows, 4, H] what an MTP block begins with
    Buffer<float> joined_token{device};    // [rows, H] the token's part of it
    Buffer<float> absorbed_kv{device};     // [stages, rows, D]
    Buffer<float> router_logits{device};   // [rows, E]
    Buffer<float> expert_weights{device};  // [rows, k]

    // Scratch of the rings that long chunks are computed in: one for each ring of each sequence.
    std::deque<Buffer<std::byte>> rings;

    // Where the host reads what a pass computed.
    Buffer<float> logits{device, Device::Memory::pinned};             // [wanted rows, vocab]
    Buffer<float> collapsed{device, Device::Memory::pinned};          // PassOutput::collapsed
    Buffer<float> last_streams{device, Device::Memory::pinned};       // PassOutput::streams
    Buffer<std::int32_t> expert_ids{device, Device::Memory::pinned};  // [layers, rows, k]
};

}  // namespace cachalot
