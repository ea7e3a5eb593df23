// The one validated description of a model's shape. Nothing else in the program knows a size.
//
// It is read from config.json of a release or from the metadata of a GGUF file; both give the same struct,
// and a struct that exists has been validated: every size is positive and bounded, every relation that the
// forward pass relies on holds. The names follow the paper and DeepSeek's own configuration.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model/layer_shape.h"

namespace cachalot {

class Gguf;
class GgufWriter;

inline constexpr int kStreams = 4;  // hyper-connection streams; the mixing formulas are written for four

struct RopeConfig {
    float theta = 10000.0f;            // layers without compression
    float compress_theta = 160000.0f;  // layers with compression, with YaRN
    float yarn_factor = 1.0f;          // 1: no interpolation
    std::int64_t yarn_original_context = 65536;
    float yarn_beta_fast = 32.0f;
    float yarn_beta_slow = 1.0f;

    bool operator==(const RopeConfig&) const = default;
};

struct Config {
    std::string name;  // for people: general.name of a GGUF, the folder of a release
    int vocab_size = 0;
    int hidden_size = 0;  // H
    int layers = 0;       // main layers; multi-token-prediction blocks are not counted
    std::int64_t context_length = 0;

    // attention: one latent of head_dim is key and value of every head
    int heads = 0;
    int head_dim = 0;  // D
    int rope_dim = 0;  // R, the last R of the D dims are rotated
    int q_lora_rank = 0;
    int output_groups = 0;  // heads are split evenly among them
    int output_lora_rank = 0;
    int sliding_window = 0;                // W
    std::vector<LayerShape> layer_shapes;  // [layers]
    RopeConfig rope;
    float norm_eps = 1e-6f;

    // indexer of the layers that have one
    int index_heads = 0;
    int index_head_dim = 0;
    int index_top_k = 0;

    // experts
    int experts = 0;             // E, routed
    int experts_per_token = 0;   // k
    int shared_experts = 0;      // 1
    int expert_hidden_size = 0;  // I
    float routed_scale = 1.0f;
    std::vector<float> swiglu_limit;         // [layers], routed experts
    std::vector<float> swiglu_limit_shared;  // [layers], shared expert

    // hyper-connections
    int sinkhorn_iterations = 20;
    float hyper_connection_eps = 1e-6f;

    std::int32_t bos = 0;
    std::int32_t eos = 1;

    const LayerShape& shape(int layer) const { return layer_shapes[static_cast<std::size_t>(layer)]; }
    int hash_layers() const;  // layers that look experts up by token id: the first ones

    bool operator==(const Config&) const = default;
};

// Reads the text of a release's config.json, or that file in a directory. Throws Error naming the source and
// the key: if it is another architecture, if a key is missing or has the wrong type, or if `validate` refuses
// it.
Config config_from_json(std::string_view text, std::string_view source);
Config read_config(const std::filesystem::path& directory);

// The same, but looks at the architecture only.
void check_architecture_of(const std::filesystem::path& directory);

// Reads the metadata of a GGUF file; the same errors. Blocks for multi-token prediction at the end of the
// file are not counted as layers.
Config config_from_gguf(const Gguf& file);

// Writes the keys that config_from_gguf reads and those that other engines want besides.
void write_config(const Config& config, GgufWriter& writer);

// Throws Error naming the first thing that the forward pass could not work with. `source` starts the message.
void validate(const Config& config, std::string_view source);

// Refuses names of architectures other than V4 ("deepseek_v4" in a release, "deepseek4" in GGUF). Throws
// Error.
void check_architecture(std::string_view name, std::string_view source);

inline constexpr int kMaxLayers = 1024;

}  // namespace cachalot
