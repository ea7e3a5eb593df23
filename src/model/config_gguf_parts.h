// What the metadata of a GGUF file says of the drafter and of the vision model, which may stand beside the
// layers of V4 and V4.1. Both are optional; other programs know neither.
//
//     dspark.stage_count  .block_size  .noise_token_id  .markov_rank  .expert_count  .expert_used_count
//     dspark.target_layers             numbers of layers as in config.json
//     mtp.block_count                  1: there is a block for multi-token prediction
//     vision.block_count  .embedding_length  .attention.head_count  .feed_forward_length  .patch_size
//           .downsample_ratio  .max_tokens  .min_pixels  .max_aspect_ratio  .rope.freq_base  .token_id
#pragma once

#include <string>

#include "model/config.h"
#include "model/gguf_fields.h"

namespace cachalot {

// Throws Error naming the key.
void read_parts(const GgufFields& fields, Config& config);

// `prefix` is that of the architecture's keys.
void write_drafter(const Config& config, const std::string& prefix, GgufWriter& writer);
void remove_drafter(const std::string& prefix, GgufWriter& writer);
// Both parts.
void write_parts(const Config& config, const std::string& prefix, GgufWriter& writer);

}  // namespace cachalot
