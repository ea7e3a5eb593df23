#include "model/tensor_names.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cachalot {
namespace {

using Kind = TensorSpec::Kind;
using Role = TensorSpec::Role;

class List {
  public:
    explicit List(const Config& config) : c_(config) {}

    std::vector<TensorSpec> build() {
        std::int64_t streams = std::int64_t(kStreams) * c_.hidden_size;
        add(Kind::matrix, "token_embd.weight", "embed.weight", c_.vocab_size, c_.hidden_size,
            Role::embeddings);
        for (layer_ = 0; layer_ < c_.layers; ++layer_) add_layer(streams);
        layer_ = -1;
        add(Kind::matrix, "output_hc_fn.weight", "hc_head_fn", kStreams, streams);
        add(Kind::floats, "output_hc_base.weight", "hc_head_base", 1, kStreams);
        add(Kind::floats, "output_hc_scale.weight", "hc_head_scale", 1, 1);
        add(Kind::floats, "output_norm.weight", "norm.weight", 1, c_.hidden_size);
        add(Kind::matrix, "output.weight", "head.weight", c_.vocab_size, c_.hidden_size, Role::embeddings);
        return std::move(list_);
    }

  private:
    void add(Kind kind, const std::string& gguf, const std::string& release, std::int64_t rows,
             std::int64_t columns, Role role = Role::sensitive) {
        list_.push_back({kind, role, layer_ < 0 ? gguf : fmt::format("blk.{}.{}", layer_, gguf),
                         layer_ < 0 ? release : fmt::format("layers.{}.{}", layer_, release), rows, columns,
                         role == Role::experts ? c_.experts : 0});
    }

    void add_layer(std::int64_t streams) {
        constexpr int kMix = kStreams * (kStreams + 2);
        for (const char* part : {"attn", "ffn"}) {
            add(Kind::matrix, fmt::format("hc_{}_fn.weight", part), fmt::format("hc_{}_fn", part), kMix,
                streams);
            add(Kind::floats, fmt::format("hc_{}_base.weight", part), fmt::format("hc_{}_base", part), 1,
                kMix);
            add(Kind::floats, fmt::format("hc_{}_scale.weight", part), fmt::format("hc_{}_scale", part), 1,
                3);
            add(Kind::floats, fmt::format("{}_norm.weight", part), fmt::format("{}_norm.weight", part), 1,
                c_.hidden_size);
        }
        add_attention();
        add_experts();
    }

    void add_attention() {
        std::int64_t h = c_.hidden_size, d = c_.head_dim, q = c_.q_lora_rank;
        add(Kind::matrix, "attn_q_a.weight", "attn.wq_a.weight", q, h, Role::dense);
        add(Kind::floats, "attn_q_a_norm.weight", "attn.q_norm.weight", 1, q);
        add(Kind::matrix, "attn_q_b.weight", "attn.wq_b.weight", c_.heads * d, q, Role::dense);
        add(Kind::matrix, "attn_kv.weight", "attn.wkv.weight", d, h, Role::dense);
        add(Kind::floats, "attn_kv_a_norm.weight", "attn.kv_norm.weight", 1, d);
        add(Kind::floats, "attn_sinks.weight", "attn.attn_sink", 1, c_.heads);
        std::int64_t low_rank = std::int64_t(c_.output_groups) * c_.output_lora_rank;
        add(Kind::matrix, "attn_output_a.weight", "attn.wo_a.weight", low_rank,
            c_.heads / c_.output_groups * d, Role::dense);
        add(Kind::matrix, "attn_output_b.weight", "attn.wo_b.weight", h, low_rank, Role::dense);
        auto kind = c_.layer_kinds[static_cast<std::size_t>(layer_)];
        if (kind == LayerKind::window) return;
        add_compressor("attn_compressor_", "attn.compressor.", d);
        if (kind == LayerKind::hca) return;
        add(Kind::matrix, "indexer.attn_q_b.weight", "attn.indexer.wq_b.weight",
            std::int64_t(c_.index_heads) * c_.index_head_dim, q, Role::dense);
        add(Kind::matrix, "indexer.proj.weight", "attn.indexer.weights_proj.weight", c_.index_heads, h);
        add_compressor("indexer_compressor_", "attn.indexer.compressor.", c_.index_head_dim);
    }

    void add_compressor(const std::string& gguf, const std::string& release, std::int64_t n) {
        std::int64_t ratio = c_.ratio(layer_), width = ratio == kCsaRatio ? 2 * n : n;
        add(Kind::matrix, gguf + "kv.weight", release + "wkv.weight", width, c_.hidden_size);
        add(Kind::matrix, gguf + "gate.weight", release + "wgate.weight", width, c_.hidden_size);
        add(Kind::floats, gguf + "ape.weight", release + "ape", ratio, width);
        add(Kind::floats, gguf + "norm.weight", release + "norm.weight", 1, n);
    }

    void add_experts() {
        std::int64_t h = c_.hidden_size, inner = c_.expert_hidden_size;
        add(Kind::matrix, "ffn_gate_inp.weight", "ffn.gate.weight", c_.experts, h);
        if (layer_ < c_.hash_layers)
            add(Kind::integers, "ffn_gate_tid2eid.weight", "ffn.gate.tid2eid", c_.vocab_size,
                c_.experts_per_token);
        else
            add(Kind::floats, "exp_probs_b.bias", "ffn.gate.bias", 1, c_.experts);
        add(Kind::experts, "ffn_gate_exps.weight", "ffn.experts.{}.w1.weight", inner, h, Role::experts);
        add(Kind::experts, "ffn_up_exps.weight", "ffn.experts.{}.w3.weight", inner, h, Role::experts);
        add(Kind::experts, "ffn_down_exps.weight", "ffn.experts.{}.w2.weight", h, inner, Role::experts);
        add(Kind::matrix, "ffn_gate_shexp.weight", "ffn.shared_experts.w1.weight", inner, h, Role::dense);
        add(Kind::matrix, "ffn_up_shexp.weight", "ffn.shared_experts.w3.weight", inner, h, Role::dense);
        add(Kind::matrix, "ffn_down_shexp.weight", "ffn.shared_experts.w2.weight", h, inner, Role::dense);
    }

    const Config& c_;
    int layer_ = -1;
    std::vector<TensorSpec> list_;
};

}  // namespace

std::vector<TensorSpec> model_tensors(const Config& config) { return List(config).build(); }

std::string scale_tensor(std::string_view name) {
    constexpr std::string_view suffix = ".weight";
    CACHALOT_CHECK(name.ends_with(suffix));
    return std::string(name.substr(0, name.size() - suffix.size())) + ".scale";
}

}  // namespace cachalot
