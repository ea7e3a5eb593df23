// Names bound to views: the weights of a model as the forward pass uses them.
//
// Matrices point into the checkpoint's mapped files. Small vectors (norms, biases, ape) are converted to
// float32 and owned here.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/primitives.h"
#include "model/config.h"
#include "model/engram_table.h"
#include "tensor/matrix.h"

namespace cachalot {

class Checkpoint;

struct MixWeights {                  // parameters of one hyper-connection
    Matrix fn;                       // [24 or 4, 4H]
    std::vector<float> base, scale;  // [24 or 4], [3 or 1]

    operator HyperConnectionWeights() const { return {fn, base.data(), scale.data()}; }
};

struct CompressorWeights {
    Matrix kv, gate;          // [width, H]; width = 2n with overlap, n without; V4.1: no gate at ratio 1
    std::vector<float> ape;   // [ratio, width], V4
    std::vector<float> norm;  // [n]
};

struct IndexerWeights {
    Matrix q_b;                    // [index_heads * index_head_dim, q_lora_rank]
    Matrix weights;                // [index_heads, H]
    CompressorWeights compressor;  // n = index_head_dim, V4
    // V4.1 makes keys of the compressed rows, in the layers that keep them; the other members are of the
    // layers that choose.
    Matrix k;                   // [index_head_dim, D]
    std::vector<float> k_norm;  // [index_head_dim]
};

struct AttentionWeights {
    Matrix q_a;                    // [q_lora_rank, H]
    std::vector<float> q_norm;     // [q_lora_rank]
    Matrix q_b;                    // [heads * D, q_lora_rank]
    Matrix kv;                     // [D, H]
    std::vector<float> kv_norm;    // [D]
    std::vector<Matrix> output_a;  // [groups] of [output_lora_rank, heads/groups * D]
    Matrix output_b;               // [H, groups * output_lora_rank]
    std::vector<float> sinks;      // [heads]
    CompressorWeights compressor;  // layers that keep compressed rows; n = D
    IndexerWeights indexer;        // layers that choose among them or keep their keys
};

struct EngramWeights {
    EngramTable table;        // stays on disk
    Matrix kv;                // [5H, EngramConfig::input_size()]: a key for each stream, and a value
    std::vector<float> q, k;  // [4, H] weights of streams and keys
};

struct LayerWeights {
    MixWeights attention_mix, expert_mix;
    std::vector<float> attention_norm, expert_norm;  // [H]
    EngramWeights engram;                            // layers with a table
    AttentionWeights attention;
    Matrix router;                       // [E, H]
    std::vector<float> router_bias;      // [E], learned layers
    std::vector<float> router_bias_vl;   // [E], V4.1: for the tokens of pictures
    std::vector<std::int32_t> table;     // [vocab, k], hash layers
    std::vector<ExpertWeights> experts;  // [E]
    ExpertWeights shared;
};

// What drafts tokens beside the model (DrafterKind). Its embedding and head are the model's.
struct DrafterWeights {
    // DSpark
    Matrix input;                   // [H, target layers * H], of the streams that it reads
    std::vector<float> input_norm;  // [H]
    Matrix markov_embedding;        // [vocab, markov_rank], of the token before
    Matrix markov_head;             // likewise: what that adds to each logit
    std::vector<float> confidence;  // [H + markov_rank]

    // multi-token prediction: streams X'_k = embedding_input e + hidden_input h_k, where e is the next
    // token's normalised embedding and h_k the normalised stream k behind the last layer
    std::vector<float> embedding_norm, hidden_norm;  // [H]
    Matrix embedding_input, hidden_input;            // [H, H]

    std::vector<LayerWeights> stages;  // with windows only
    MixWeights head_mix;               // V4
    std::vector<float> norm;           // [H]
};

struct Weights {
    Matrix embedding;  // [vocab, H]
    std::vector<LayerWeights> layers;
    MixWeights head_mix;      // V4
    std::vector<float> norm;  // [H]
    Matrix head;              // [vocab, H]
    DrafterWeights drafter;   // empty unless bind_drafter() was called
};

// Binds every tensor that the configuration calls for. Throws Error naming the file and the tensor that is
// missing, has another shape, or has a type that cannot be computed with.
Weights bind_weights(const Checkpoint& checkpoint);

// Binds the drafter, which the checkpoint must have (part_tensors.h); throws Error likewise.
void bind_drafter(const Checkpoint& checkpoint, Weights& weights);

}  // namespace cachalot
