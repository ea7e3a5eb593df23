#include "model/model_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

using Kind = TensorSpec::Kind;
using Role = TensorSpec::Role;
using Layer = LayerWeights;
using Member = TensorMember;

// The element type decides what a member takes.
Kind kind_of(const Matrix&) { return Kind::matrix; }
Kind kind_of(const EngramTable&) { return Kind::table; }
Kind kind_of(const std::vector<float>&) { return Kind::floats; }
Kind kind_of(const std::vector<std::int32_t>&) { return Kind::integers; }

class Table {
  public:
    using FindLayers = std::vector<Layer>& (*)(Weights&);

    // Names of the layers' tensors are `gguf`.L.NAME and `release`.L.NAME.
    Table(const Config& config, std::string gguf, std::string release, FindLayers find)
        : c_(config), gguf_(std::move(gguf)), release_(std::move(release)), find_layers_(find) {}

    std::vector<TensorSpec> build() {
        model(
            "token_embd.weight", "embed.weight", c_.vocab_size, c_.hidden_size,
            [](Weights & w) -> auto& { return w.embedding; }, Role::embedding);
        layers();
        if (!c_.delayed_mixing)
            head_mixing(
                "output_hc_", "hc_head_", [](Weights & w) -> auto& { return w.head_mix; });
        model(
            "output_norm.weight", "norm.weight", 1, c_.hidden_size,
            [](Weights & w) -> auto& { return w.norm; });
        model(
            "output.weight", "head.weight", c_.vocab_size, c_.hidden_size,
            [](Weights & w) -> auto& { return w.head; }, Role::head);
        return std::move(table_);
    }

    // Of a drafter the stages are the layers of the configuration. What stands before them is in the release
    // a part of the first stage, what stands behind them of the last.
    std::vector<TensorSpec> build_dspark(const DsparkConfig& d) {
        const std::int64_t h = c_.hidden_size;
        const auto first = release_ + ".0.", last = last_stage();
        const bool v41 = c_.is_v41();
        model(
            "dspark.fc.weight", first + "main_proj.weight", h, std::ssize(d.target_layers) * h,
            [](Weights & w) -> auto& { return w.drafter.input; }, Role::dense);
        model(
            "dspark.enc.output_norm.weight", first + "main_norm.weight", 1, h,
            [](Weights & w) -> auto& { return w.drafter.input_norm; });
        stages();
        model(
            "dspark.markov_w1.weight", last + "markov_head." + (v41 ? "embed" : "markov_w1") + ".weight",
            c_.vocab_size, d.markov_rank, [](Weights & w) -> auto& { return w.drafter.markov_embedding; });
        table_.back().kind = Kind::plain;
        model(
            "dspark.markov_w2.weight", last + "markov_head." + (v41 ? "head" : "markov_w2") + ".weight",
            c_.vocab_size, d.markov_rank, [](Weights & w) -> auto& { return w.drafter.markov_head; });
        table_.back().kind = Kind::plain;
        model(
            "dspark.conf_proj.weight", last + "confidence_head.proj.weight", 1, h + d.markov_rank,
            [](Weights & w) -> auto& { return w.drafter.confidence; });
        return std::move(table_);
    }

    std::vector<TensorSpec> build_mtp() {
        const std::int64_t h = c_.hidden_size;
        const std::string first = release_ + ".0.";
        model(
            "mtp.e_proj.weight", first + "e_proj.weight", h, h,
            [](Weights & w) -> auto& { return w.drafter.embedding_input; }, Role::dense);
        model(
            "mtp.h_proj.weight", first + "h_proj.weight", h, h,
            [](Weights & w) -> auto& { return w.drafter.hidden_input; }, Role::dense);
        model(
            "mtp.enorm.weight", first + "enorm.weight", 1, h,
            [](Weights & w) -> auto& { return w.drafter.embedding_norm; });
        model(
            "mtp.hnorm.weight", first + "hnorm.weight", 1, h,
            [](Weights & w) -> auto& { return w.drafter.hidden_norm; });
        stages();
        return std::move(table_);
    }

  private:
    std::string last_stage() const { return fmt::format("{}.{}.", release_, c_.layers - 1); }

    // And what every drafter has behind them.
    void stages() {
        layers();
        const std::string last = last_stage();
        if (!c_.delayed_mixing)
            head_mixing(
                gguf_ + ".output_hc_", last + "hc_head_",
                [](Weights & w) -> auto& { return w.drafter.head_mix; });
        model(
            gguf_ + ".output_norm.weight", last + "norm.weight", 1, c_.hidden_size,
            [](Weights & w) -> auto& { return w.drafter.norm; });
    }

    void layers() {
        const std::int64_t streams = std::int64_t(kStreams) * c_.hidden_size;
        for (layer_ = 0; layer_ < c_.layers; ++layer_) {
            if (c_.shape(layer_).engram >= 0) engram();
            mixing(
                "attn", streams, [](Layer & w) -> auto& { return w.attention_mix; });
            one(
                "attn_norm.weight", "attn_norm.weight", 1, c_.hidden_size,
                [](Layer & w) -> auto& { return w.attention_norm; });
            mixing(
                "ffn", streams, [](Layer & w) -> auto& { return w.expert_mix; });
            one(
                "ffn_norm.weight", "ffn_norm.weight", 1, c_.hidden_size,
                [](Layer & w) -> auto& { return w.expert_norm; });
            attention();
            experts();
        }
    }

    // A tensor outside of the layers.
    template <class Find>
    void model(const std::string& gguf, const std::string& release, std::int64_t rows, std::int64_t columns,
               const Find& member, Role role = Role::sensitive) {
        Weights any;
        table_.push_back({kind_of(member(any)), role, gguf, release, rows, columns, 0,
                          [member](Weights& w) -> Member { return &member(w); }});
    }

    // A tensor of the current layer, kept as `kind`; `member` finds its place in the layer's weights.
    template <class Find>
    void add(Kind kind, const std::string& gguf, const std::string& release, std::int64_t rows,
             std::int64_t columns, Role role, const Find& member) {
        const auto l = static_cast<std::size_t>(layer_);
        table_.push_back(
            {kind, role, fmt::format("{}.{}.{}", gguf_, l, gguf),
             fmt::format("{}.{}.{}", release_, l, release), rows, columns,
             kind == Kind::experts ? c_.experts : 0,
             [member, l, find = find_layers_](Weights& w) -> Member { return member(find(w)[l]); }});
    }

    // One that becomes a member by itself.
    template <class Find>
    void one(const std::string& gguf, const std::string& release, std::int64_t rows, std::int64_t columns,
             const Find& member, Role role = Role::sensitive) {
        Layer any;
        add(kind_of(member(any)), gguf, release, rows, columns, role,
            [member](Layer& w) -> Member { return &member(w); });
    }

    // The parameters of a sub-layer's hyper-connection.
    template <class Find>
    void mixing(const std::string& part, std::int64_t streams, const Find& mix) {
        constexpr int kMix = kStreams * (kStreams + 2);
        const std::string name = "hc_" + part;
        one(
            name + "_fn.weight", name + "_fn", kMix,
            streams, [mix](Layer & w) -> auto& { return mix(w).fn; });
        one(
            name + "_base.weight", name + "_base", 1,
            kMix, [mix](Layer & w) -> auto& { return mix(w).base; });
        one(
            name + "_scale.weight", name + "_scale", 1,
            3, [mix](Layer & w) -> auto& { return mix(w).scale; });
    }

    template <class Find>
    void head_mixing(const std::string& gguf, const std::string& release, const Find& mix) {
        const std::int64_t streams = std::int64_t(kStreams) * c_.hidden_size;
        model(
            gguf + "fn.weight", release + "fn", kStreams,
            streams, [mix](Weights & w) -> auto& { return mix(w).fn; });
        model(
            gguf + "base.weight", release + "base", 1,
            kStreams, [mix](Weights & w) -> auto& { return mix(w).base; });
        model(
            gguf + "scale.weight", release + "scale", 1,
            1, [mix](Weights & w) -> auto& { return mix(w).scale; });
    }

    void engram() {
        const std::int64_t h = c_.hidden_size;
        const auto table = static_cast<std::size_t>(c_.shape(layer_).engram);
        one(
            "engram_embd.weight", "engram.embed.weight", c_.engram.rows[table], c_.engram.row_size,
            [](Layer & w) -> auto& { return w.engram.table; }, Role::engram);
        one(
            "engram_wkv.weight", "engram.wkv.weight", (kStreams + 1) * h, c_.engram.input_size(),
            [](Layer & w) -> auto& { return w.engram.kv; }, Role::dense);
        one(
            "engram_q.weight", "engram.q_weight", kStreams, h, [](Layer & w) -> auto& { return w.engram.q; });
        one(
            "engram_k.weight", "engram.k_weight", kStreams, h, [](Layer & w) -> auto& { return w.engram.k; });
    }

    void attention() {
        const std::int64_t h = c_.hidden_size, d = c_.head_dim, q = c_.q_lora_rank;
        const std::int64_t low = std::int64_t(c_.output_groups) * c_.output_lora_rank;
        one(
            "attn_q_a.weight", "attn.wq_a.weight", q, h, [](Layer & w) -> auto& { return w.attention.q_a; },
            Role::dense);
        one(
            "attn_q_a_norm.weight", "attn.q_norm.weight", 1, q,
            [](Layer & w) -> auto& { return w.attention.q_norm; });
        one(
            "attn_q_b.weight", "attn.wq_b.weight", c_.heads * d, q,
            [](Layer & w) -> auto& { return w.attention.q_b; }, Role::dense);
        one(
            "attn_kv.weight", "attn.wkv.weight", d, h, [](Layer & w) -> auto& { return w.attention.kv; },
            Role::dense);
        one(
            "attn_kv_a_norm.weight", "attn.kv_norm.weight", 1, d,
            [](Layer & w) -> auto& { return w.attention.kv_norm; });
        one(
            "attn_sinks.weight", "attn.attn_sink", 1, c_.heads,
            [](Layer & w) -> auto& { return w.attention.sinks; });
        add(Kind::matrix, "attn_output_a.weight", "attn.wo_a.weight", low, c_.heads / c_.output_groups * d,
            Role::dense, [groups = c_.output_groups](Layer& w) -> Member {
                return SlicedMember{&w.attention.output_a, groups};
            });
        one(
            "attn_output_b.weight", "attn.wo_b.weight", h, low,
            [](Layer & w) -> auto& { return w.attention.output_b; }, Role::dense);

        if (c_.shape(layer_).kv_source == layer_)
            compressor(
                "attn_compressor_", "attn.compressor.", d,
                [](Layer & w) -> auto& { return w.attention.compressor; });
        indexer();
    }

    void indexer() {
        const std::int64_t h = c_.hidden_size, q = c_.q_lora_rank;
        const LayerShape& shape = c_.shape(layer_);
        if (c_.is_v41() && shape.kv_source == layer_) {
            one(
                "indexer.attn_k.weight", "attn.indexer.wk.weight", c_.index_head_dim, c_.head_dim,
                [](Layer & w) -> auto& { return w.attention.indexer.k; });
            one(
                "indexer.k_norm.weight", "attn.indexer.k_norm.weight", 1, c_.index_head_dim,
                [](Layer & w) -> auto& { return w.attention.indexer.k_norm; });
        }
        if (!shape.indexer) return;
        one(
            "indexer.attn_q_b.weight", "attn.indexer.wq_b.weight",
            std::int64_t(c_.index_heads) * c_.index_head_dim, q,
            [](Layer & w) -> auto& { return w.attention.indexer.q_b; }, Role::dense);
        one(
            "indexer.proj.weight", "attn.indexer.weights_proj.weight", c_.index_heads, h,
            [](Layer & w) -> auto& { return w.attention.indexer.weights; });
        if (c_.is_v41()) return;
        compressor(
            "indexer_compressor_", "attn.indexer.compressor.", c_.index_head_dim,
            [](Layer & w) -> auto& { return w.attention.indexer.compressor; });
    }

    // Of rows of `n` values.
    template <class Find>
    void compressor(const std::string& gguf, const std::string& release, std::int64_t n, const Find& found) {
        const LayerShape& shape = c_.shape(layer_);
        const std::int64_t width = shape.overlap ? 2 * n : n, h = c_.hidden_size;
        one(
            gguf + "kv.weight", release + "wkv.weight", width,
            h, [found](Layer & w) -> auto& { return found(w).kv; });
        if (!c_.is_v41() || shape.ratio > 1)  // a row of one token needs no weighting
            one(
                gguf + "gate.weight", release + "wgate.weight", width,
                h, [found](Layer & w) -> auto& { return found(w).gate; });
        if (!c_.is_v41())
            one(
                gguf + "ape.weight", release + "ape", shape.ratio,
                width, [found](Layer & w) -> auto& { return found(w).ape; });
        one(
            gguf + "norm.weight", release + "norm.weight", 1,
            n, [found](Layer & w) -> auto& { return found(w).norm; });
    }

    void experts() {
        const std::int64_t h = c_.hidden_size, inner = c_.expert_hidden_size;
        one(
            "ffn_gate_inp.weight", "ffn.gate.weight", c_.experts, h,
            [](Layer & w) -> auto& { return w.router; });
        if (c_.shape(layer_).hash)
            one(
                "ffn_gate_tid2eid.weight", "ffn.gate.tid2eid", c_.vocab_size, c_.experts_per_token,
                [](Layer & w) -> auto& { return w.table; });
        else
            one(
                "exp_probs_b.bias", "ffn.gate.bias", 1, c_.experts,
                [](Layer & w) -> auto& { return w.router_bias; });
        if (c_.is_v41())
            one(
                "exp_probs_b_vl.bias", "ffn.gate.bias_vl", 1, c_.experts,
                [](Layer & w) -> auto& { return w.router_bias_vl; });
        struct Part {
            const char *gguf, *release;
            std::int64_t rows, columns;
            Matrix ExpertWeights::*matrix;
        };
        const Part parts[] = {{"gate", "w1", inner, h, &ExpertWeights::gate},
                              {"up", "w3", inner, h, &ExpertWeights::up},
                              {"down", "w2", h, inner, &ExpertWeights::down}};
        for (const Part& p : parts)
            add(Kind::experts, fmt::format("ffn_{}_exps.weight", p.gguf),
                fmt::format("ffn.experts.{{}}.{}.weight", p.release), p.rows, p.columns, Role::experts,
                [matrix = p.matrix](Layer& w) -> Member {
                    return ExpertMember{&w.experts, matrix};
                });
        for (const Part& p : parts)
            one(
                fmt::format("ffn_{}_shexp.weight", p.gguf),
                fmt::format("ffn.shared_experts.{}.weight", p.release), p.rows,
                p.columns, [matrix = p.matrix](Layer & w) -> auto& { return w.shared.*matrix; },
                Role::shared_experts);
    }

    const Config& c_;
    std::string gguf_, release_;
    FindLayers find_layers_;
    int layer_ = 0;
    std::vector<TensorSpec> table_;
};

struct EachMatrix {
    const TensorSpec& spec;
    const std::function<void(const TensorSpec&, const Matrix&)>& use;

    void operator()(const Matrix* m) const { use(spec, *m); }
    void operator()(const SlicedMember& member) const {
        for (const Matrix& m : *member.slices) use(spec, m);
    }
    void operator()(const ExpertMember& member) const {
        for (const ExpertWeights& e : *member.experts) use(spec, e.*member.matrix);
    }
    void operator()(const EngramTable*) const {}
    void operator()(const std::vector<float>*) const {}
    void operator()(const std::vector<std::int32_t>*) const {}
};

}  // namespace

std::vector<TensorSpec> model_tensors(const Config& config) {
    return Table(
               config, "blk", "layers", [](Weights & w) -> auto& { return w.layers; })
        .build();
}

std::vector<TensorSpec> drafter_tensors(const Config& config) {
    if (config.drafter() == DrafterKind::none) return {};
    const bool dspark = config.drafter() == DrafterKind::dspark;
    const Config stages = drafter_stages(config);
    Table table(
        stages, dspark ? "dspark" : "mtp", "mtp", [](Weights & w) -> auto& { return w.drafter.stages; });
    return dspark ? table.build_dspark(config.dspark) : table.build_mtp();
}

void each_matrix(const Config& config, const Weights& weights,
                 const std::function<void(const TensorSpec&, const Matrix&)>& use) {
    auto& members = const_cast<Weights&>(weights);  // the table finds members; nothing is written here
    for (const TensorSpec& spec : model_tensors(config))
        std::visit(EachMatrix{spec, use}, spec.member(members));
}

void each_matrix(const Config& config, const TypeOf& type,
                 const std::function<void(const TensorSpec&, const Matrix&)>& use) {
    static constexpr std::uint8_t kSomewhere = 0;  // scales are counted where there is a pointer to them
    for (const TensorSpec& spec : model_tensors(config)) {
        if (spec.kind != TensorSpec::Kind::matrix && spec.kind != TensorSpec::Kind::experts) continue;
        Matrix m{type(spec), spec.rows, spec.columns};
        m.stride = row_bytes(m.dtype, m.columns);
        m.fp8_block = config.fp8_block;
        if (m.dtype == DType::f8_e4m3) m.scale_stride = blocks_of(m.columns, m.fp8_block);
        if (m.dtype == DType::fp4_pairs) m.scale_stride = m.columns / kFp4Block;
        if (m.scale_stride) m.scales = &kSomewhere;
        for (int i = 0; i < std::max(1, spec.experts); ++i) use(spec, m);
    }
}

DType release_type(const TensorSpec& spec) {
    if (spec.role == TensorSpec::Role::experts) return DType::fp4_pairs;
    if (is_fp8_in_releases(spec.role)) return DType::f8_e4m3;
    return spec.gguf.find("hc_") != std::string::npos ? DType::f32 : DType::bf16;
}

bool is_fp8_in_releases(TensorSpec::Role role) { return role == Role::dense || role == Role::shared_experts; }

std::string scale_tensor(std::string_view name) {
    constexpr std::string_view suffix = ".weight";
    CACHALOT_CHECK(name.ends_with(suffix));
    return std::string(name.substr(0, name.size() - suffix.size())) + ".scale";
}

}  // namespace cachalot
