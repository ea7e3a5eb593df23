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

#include "model/engram_config.h"
#include "model/layer_shape.h"

namespace cachalot {

class Gguf;
class GgufWriter;

inline constexpr int kStreams = 4;  // hyper-connection streams; the mixing formulas are written for four

enum class Architecture : std::uint8_t { v4, v41 };

// How a vector that is kept for later tokens is rounded. Groups of values share a scale.
enum class RowRounding : std::uint8_t {
    fp8_64,  // E4M3, a power of two for each 64; the rotated values stay BF16
    fp8_32,  // E4M3, a power of two for each 32, the rotated values like the others
    fp4_16,  // E2M1, an E4M3 scale for each 16
    fp4_32,  // E2M1, a power of two for each 32
};

struct RopeConfig {
    float theta = 10000.0f;            // layers without compression
    float compress_theta = 160000.0f;  // layers with compression, with YaRN
    float yarn_factor = 1.0f;          // 1: no interpolation
    std::int64_t yarn_original_context = 65536;
    float yarn_beta_fast = 32.0f;
    float yarn_beta_slow = 1.0f;

    bool operator==(const RopeConfig&) const = default;
};

// What drafts tokens beside the layers: DSpark's stages a block of them; the block of the preview releases
// for multi-token prediction the one after the next.
enum class DrafterKind : std::uint8_t { none, dspark, mtp };

// The block drafter that some releases have beside the model.
struct DsparkConfig {
    int stages = 0;                  // 0: there is none
    int block_size = 0;              // tokens that are drafted together
    std::int32_t noise_token = 0;    // stands for a token that is not known yet
    std::vector<int> target_layers;  // whose streams it reads
    int markov_rank = 0;
    int experts = 0, experts_per_token = 0;

    bool present() const { return stages > 0; }
    bool operator==(const DsparkConfig&) const = default;
};

// What turns pictures into embeddings.
struct VisionConfig {
    int layers = 0;  // 0: there is none
    int hidden_size = 0;
    int heads = 0;
    int inner_size = 0;
    int patch_size = 0;
    int downsample = 0;  // so many patches in each direction become one token
    int max_tokens = 0;  // of a picture
    std::int64_t min_pixels = 0;
    float max_aspect = 0;  // width by height; 0: any
    float rope_theta = 10000.0f;
    std::int32_t token = 0;  // stands for a picture's tokens

    bool present() const { return layers > 0; }
    bool operator==(const VisionConfig&) const = default;
};

struct Config {
    Architecture architecture = Architecture::v4;
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
    bool query_head_norm = true;  // each head's query is normalised before it is rotated
    RowRounding window_rows = RowRounding::fp8_64, compressed_rows = RowRounding::fp8_64;

    // indexer of the layers that have one; its keys are rounded as fp4_32
    int index_heads = 0;
    int index_head_dim = 0;
    int index_top_k = 0;
    bool index_compressor = true;  // keys are pooled from tokens, as rows are; else they are made of the rows
    bool index_hadamard = true;  // queries and keys are rotated by a Hadamard matrix before they are rounded
    int candidate_blocks = 0;    // of candidates (LayerShape::candidate_source); 0: no layer makes any
    int candidate_block_size = 0;  // compressed rows of a block

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
    bool delayed_mixing = false;  // a sub-layer reads the streams with the weights of the one before it; the
                                  // head with those of the last, so it has none of its own

    // how matrices are stored and multiplied
    int fp8_block = 128;         // rows and columns of an FP8 matrix that share a scale
    int activation_group = 128;  // values that share a scale where activations are rounded to FP8

    // beside the layers
    EngramConfig engram;
    DsparkConfig dspark;
    bool mtp = false;  // there is a block for multi-token prediction; never beside `dspark`
    VisionConfig vision;

    std::int32_t bos = 0;
    std::int32_t eos = 1;

    const LayerShape& shape(int layer) const { return layer_shapes[static_cast<std::size_t>(layer)]; }
    bool is_v41() const { return architecture == Architecture::v41; }
    // The last layer that keeps compressed rows, if layers behind it read them: a token that is read only for
    // those who follow need not go further. Else `layers`.
    int context_layers_end() const;
    DrafterKind drafter() const {
        return dspark.present() ? DrafterKind::dspark : mtp ? DrafterKind::mtp : DrafterKind::none;
    }
    int hash_layers() const;  // layers that look experts up by token id: the first ones

    bool operator==(const Config&) const = default;
};

// What all models of an architecture have in common; everything else is as in Config().
Config config_of(Architecture architecture);

// The stages of the drafter, which there must be, as the layers of a model: with their windows only, learned
// gates, and the drafter's experts. The block for multi-token prediction is one stage, with experts like the
// layers'.
Config drafter_stages(const Config& config);

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

// The architecture of that name: "deepseek_v4" and "deepseek_v41" in a release, where the latter's text part
// is "deepseek_v41_text", "deepseek4" and "deepseek41" in GGUF. Throws Error for another.
Architecture parse_architecture(std::string_view name, std::string_view source);
// Its name in GGUF, with which the keys of the metadata begin.
std::string_view architecture_name(Architecture architecture);

inline constexpr int kMaxLayers = 1024;

}  // namespace cachalot
