#include "model/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cachalot {
namespace {

constexpr std::int64_t kSample = 1024;  // bytes of a row
constexpr std::size_t kExperts = 2;     // of a layer

class Collected {
  public:
    template <class... Values>
    void numbers(const Values&... values) {
        ((text_ += fmt::format("{};", values)), ...);
    }
    void bytes(const void* data, std::int64_t size) {
        text_.append(static_cast<const char*>(data), static_cast<std::size_t>(size));
    }
    void floats(const std::vector<float>& values) {
        bytes(values.data(), static_cast<std::int64_t>(values.size() * sizeof(float)));
    }
    void matrix(const Matrix& m) {
        numbers(static_cast<int>(m.dtype), m.rows, m.columns);
        if (!m.data || m.rows == 0) return;
        for (auto row : {std::int64_t(0), m.rows / 2}) bytes(m.row(row), std::min(m.stride, kSample));
        if (m.scales) bytes(m.row_scales(0), std::min<std::int64_t>(m.scale_stride, kSample));
    }
    void compressor(const CompressorWeights& c) {
        matrix(c.kv);
        matrix(c.gate);
        floats(c.ape);
        floats(c.norm);
    }
    void mix(const MixWeights& m) {
        matrix(m.fn);
        floats(m.base);
        floats(m.scale);
    }
    std::string text() && { return std::move(text_); }

  private:
    std::string text_;
};

// Only what V4 has not: what is kept of V4's models stays valid.
void collect_v41(Collected& all, const Config& c) {
    if (!c.is_v41()) return;
    all.numbers("v41", c.candidate_blocks, c.candidate_block_size, c.fp8_block, c.activation_group);
    for (const auto& s : c.layer_shapes)
        all.numbers(s.ratio, s.kv_source, s.index_source, s.candidate_source, s.engram);
    for (const auto rows : c.engram.rows) all.numbers(rows);
    for (const auto prime : c.engram.primes) all.numbers(prime);
    for (const auto factor : c.engram.multipliers) all.numbers(factor);
    all.numbers(c.engram.longest, c.engram.heads, c.engram.row_size, c.engram.pad_token);
}

void collect(Collected& all, const Config& c) {
    all.numbers(c.vocab_size, c.hidden_size, c.layers, c.heads, c.head_dim, c.rope_dim, c.q_lora_rank,
                c.output_groups, c.output_lora_rank, c.sliding_window, c.rope.theta, c.rope.compress_theta,
                c.rope.yarn_factor, c.rope.yarn_original_context, c.rope.yarn_beta_fast,
                c.rope.yarn_beta_slow, c.norm_eps, c.index_heads, c.index_head_dim, c.index_top_k, c.experts,
                c.experts_per_token, c.shared_experts, c.expert_hidden_size, c.hash_layers(), c.routed_scale,
                c.sinkhorn_iterations, c.hyper_connection_eps);
    for (const auto& shape : c.layer_shapes) all.numbers(shape.ratio == 0 ? 0 : shape.indexer ? 1 : 2);
    all.floats(c.swiglu_limit);
    all.floats(c.swiglu_limit_shared);
    collect_v41(all, c);
}

void collect_v41(Collected& all, const LayerWeights& layer) {
    all.matrix(layer.attention.indexer.k);
    all.floats(layer.attention.indexer.k_norm);
    all.floats(layer.router_bias_vl);
    all.matrix(layer.engram.kv);
    all.floats(layer.engram.q);
    all.floats(layer.engram.k);
    const EngramTable& table = layer.engram.table;
    for (auto row : {std::int64_t(0), table.rows / 2})
        if (table.rows) all.bytes(table.values.row(row), table.values.bytes);
}

void collect(Collected& all, const LayerWeights& layer) {
    const auto& a = layer.attention;
    all.mix(layer.attention_mix);
    all.mix(layer.expert_mix);
    all.floats(layer.attention_norm);
    all.floats(layer.expert_norm);
    for (const auto* m :
         {&a.q_a, &a.q_b, &a.kv, &a.output_b, &a.indexer.q_b, &a.indexer.weights, &layer.router})
        all.matrix(*m);
    for (const auto& m : a.output_a) all.matrix(m);
    all.floats(a.q_norm);
    all.floats(a.kv_norm);
    all.floats(a.sinks);
    all.compressor(a.compressor);
    all.compressor(a.indexer.compressor);
    all.floats(layer.router_bias);
    auto expert = [&](const ExpertWeights& e) {
        for (const auto* m : {&e.gate, &e.up, &e.down}) all.matrix(*m);
    };
    expert(layer.shared);
    for (std::size_t e = 0; e < std::min(kExperts, layer.experts.size()); ++e) expert(layer.experts[e]);
}

}  // namespace

std::string config_identity(const Config& config) {
    Collected all;
    collect(all, config);
    return std::move(all).text();
}

std::string model_identity(const Model& model) {
    Collected all;
    collect(all, model.config);
    all.matrix(model.weights.embedding);
    for (const auto& layer : model.weights.layers) {
        collect(all, layer);
        if (model.config.is_v41()) collect_v41(all, layer);
    }
    return std::move(all).text();
}

Hash128 model_fingerprint(const Model& model) {
    const std::string identity = model_identity(model);
    return hash128(std::as_bytes(std::span(identity)));
}

Hash128 drafter_fingerprint(const Model& model) {
    const DraftModel& drafter = *model.draft;
    Collected all;
    all.numbers("drafter", static_cast<int>(drafter.kind), drafter.block_size());
    for (const int target : drafter.targets) all.numbers(target);
    collect(all, drafter.config);
    for (const auto& layer : drafter.weights.layers) collect(all, layer);
    const DrafterWeights& parts = drafter.parts;
    for (const Matrix* m : {&parts.input, &parts.markov_embedding, &parts.markov_head, &parts.embedding_input,
                            &parts.hidden_input})
        all.matrix(*m);
    for (const auto* values :
         {&parts.input_norm, &parts.confidence, &parts.embedding_norm, &parts.hidden_norm})
        all.floats(*values);
    const std::string identity = model_identity(model) + std::move(all).text();
    return hash128(std::as_bytes(std::span(identity)));
}

}  // namespace cachalot
