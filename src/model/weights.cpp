#include "model/weights.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/checkpoint.h"

namespace cachalot {
namespace {

// Binds the tensors of one layer, or with an empty prefix those outside of layers.
class Binder {
  public:
    Binder(const Checkpoint& checkpoint, int layer)
        : source_(checkpoint),
          c_(checkpoint.config()),
          layer_(layer),
          prefix_(layer < 0 ? "" : fmt::format("blk.{}.", layer)) {}

    Matrix matrix(const std::string& name, std::int64_t rows, std::int64_t columns) const {
        return source_.matrix(prefix_ + name, rows, columns);
    }
    std::vector<float> floats(const std::string& name, std::int64_t rows, std::int64_t columns) const {
        return source_.floats(prefix_ + name, rows, columns);
    }

    MixWeights mix(const std::string& name, int outputs, int scales) const {
        return {matrix(name + "_fn.weight", outputs, std::int64_t(kStreams) * c_.hidden_size),
                floats(name + "_base.weight", 1, outputs), floats(name + "_scale.weight", 1, scales)};
    }

    LayerWeights layer() const {
        constexpr int kMix = kStreams * (kStreams + 2);
        LayerWeights w;
        w.attention_mix = mix("hc_attn", kMix, 3);
        w.expert_mix = mix("hc_ffn", kMix, 3);
        w.attention_norm = floats("attn_norm.weight", 1, c_.hidden_size);
        w.expert_norm = floats("ffn_norm.weight", 1, c_.hidden_size);
        w.attention = attention();
        w.router = matrix("ffn_gate_inp.weight", c_.experts, c_.hidden_size);
        if (layer_ < c_.hash_layers)
            w.table = hash_table();
        else
            w.router_bias = floats("exp_probs_b.bias", 1, c_.experts);
        for (int e = 0; e < c_.experts; ++e) w.experts.push_back(expert(e));
        std::int64_t h = c_.hidden_size, inner = c_.expert_hidden_size;
        w.shared = {matrix("ffn_gate_shexp.weight", inner, h), matrix("ffn_up_shexp.weight", inner, h),
                    matrix("ffn_down_shexp.weight", h, inner)};
        return w;
    }

  private:
    AttentionWeights attention() const {
        std::int64_t h = c_.hidden_size, d = c_.head_dim, q = c_.q_lora_rank, o = c_.output_lora_rank;
        AttentionWeights w;
        w.q_a = matrix("attn_q_a.weight", q, h);
        w.q_norm = floats("attn_q_a_norm.weight", 1, q);
        w.q_b = matrix("attn_q_b.weight", c_.heads * d, q);
        w.kv = matrix("attn_kv.weight", d, h);
        w.kv_norm = floats("attn_kv_a_norm.weight", 1, d);
        w.sinks = floats("attn_sinks.weight", 1, c_.heads);
        Matrix output_a =
            matrix("attn_output_a.weight", c_.output_groups * o, c_.heads / c_.output_groups * d);
        // An FP8 matrix can only be cut where its blocks are; config validation makes o a multiple of them then.
        if (output_a.dtype == DType::f8_e4m3 && o % kFp8Block != 0)
            fail("{}: output rank {} is not a multiple of the FP8 block {}", source_.source(), o, kFp8Block);
        for (int g = 0; g < c_.output_groups; ++g) w.output_a.push_back(output_a.slice(g * o, o));
        w.output_b = matrix("attn_output_b.weight", h, c_.output_groups * o);
        if (c_.ratio(layer_) != 0) w.compressor = compressor("attn_compressor_", d);
        if (c_.ratio(layer_) == kCsaRatio) {
            w.indexer.q_b =
                matrix("indexer.attn_q_b.weight", std::int64_t(c_.index_heads) * c_.index_head_dim, q);
            w.indexer.weights = matrix("indexer.proj.weight", c_.index_heads, h);
            w.indexer.compressor = compressor("indexer_compressor_", c_.index_head_dim);
        }
        return w;
    }

    CompressorWeights compressor(const std::string& name, std::int64_t n) const {
        std::int64_t ratio = c_.ratio(layer_), width = ratio == kCsaRatio ? 2 * n : n;
        return {matrix(name + "kv.weight", width, c_.hidden_size),
                matrix(name + "gate.weight", width, c_.hidden_size),
                floats(name + "ape.weight", ratio, width), floats(name + "norm.weight", 1, n)};
    }

    ExpertWeights expert(int e) const {
        std::int64_t h = c_.hidden_size, inner = c_.expert_hidden_size;
        return {source_.expert(prefix_ + "ffn_gate_exps.weight", e, c_.experts, inner, h),
                source_.expert(prefix_ + "ffn_up_exps.weight", e, c_.experts, inner, h),
                source_.expert(prefix_ + "ffn_down_exps.weight", e, c_.experts, h, inner)};
    }

    std::vector<std::int32_t> hash_table() const {
        std::string name = prefix_ + "ffn_gate_tid2eid.weight";
        auto table = source_.integers(name, c_.vocab_size, c_.experts_per_token);
        for (std::size_t i = 0; i < table.size(); ++i)
            if (table[i] < 0 || table[i] >= c_.experts)
                fail("{}: tensor {}, token {}: there is no expert {}", source_.source(), name,
                     i / static_cast<std::size_t>(c_.experts_per_token), table[i]);
        return table;
    }

    const Checkpoint& source_;
    const Config& c_;
    int layer_;
    std::string prefix_;
};

}  // namespace

Weights bind_weights(const Checkpoint& checkpoint) {
    const Config& c = checkpoint.config();
    Binder root(checkpoint, -1);
    Weights w;
    w.embedding = root.matrix("token_embd.weight", c.vocab_size, c.hidden_size);
    for (int l = 0; l < c.layers; ++l) w.layers.push_back(Binder(checkpoint, l).layer());
    w.head_mix = root.mix("output_hc", kStreams, 1);
    w.norm = root.floats("output_norm.weight", 1, c.hidden_size);
    w.head = root.matrix("output.weight", c.vocab_size, c.hidden_size);
    return w;
}

}  // namespace cachalot
