#include "model/cost.h"

namespace cachalot {
namespace {

void count(TokenCost& cost, const Matrix& m, std::int64_t times = 1) {
    cost.bytes += times * m.bytes();
    cost.operations += times * 2 * m.rows * m.columns;
}

void count(TokenCost& cost, const ExpertWeights& e, std::int64_t times = 1) {
    for (const Matrix* m : {&e.gate, &e.up, &e.down}) count(cost, *m, times);
}

// Visits the matrices that every token is multiplied with, but those of experts; absent ones are empty.
template <class Use>
void each_dense(const LayerWeights& layer, const Use& use) {
    const auto& a = layer.attention;
    for (const Matrix* m : {&layer.attention_mix.fn, &layer.expert_mix.fn, &a.q_a, &a.q_b, &a.kv, &a.output_b,
                            &a.compressor.kv, &a.compressor.gate, &a.indexer.q_b, &a.indexer.weights,
                            &a.indexer.compressor.kv, &a.indexer.compressor.gate, &layer.router})
        use(*m);
    for (const auto& m : a.output_a) use(m);
}

std::uint64_t bytes_of(const ExpertWeights& e) {
    return static_cast<std::uint64_t>(e.gate.bytes() + e.up.bytes() + e.down.bytes());
}

}  // namespace

WeightBytes weight_bytes(const Weights& weights) {
    WeightBytes bytes;
    auto dense = [&](const Matrix& m) { bytes.dense += static_cast<std::uint64_t>(m.bytes()); };
    for (const auto& layer : weights.layers) {
        each_dense(layer, dense);
        bytes.shared_experts += bytes_of(layer.shared);
        for (const auto& expert : layer.experts) bytes.routed_experts += bytes_of(expert);
    }
    dense(weights.head_mix.fn);
    dense(weights.head);
    bytes.embedding = static_cast<std::uint64_t>(weights.embedding.bytes());
    return bytes;
}

TokenCost token_cost(const Config& config, const Weights& weights) {
    TokenCost cost;
    for (const auto& layer : weights.layers) {
        each_dense(layer, [&](const Matrix& m) { count(cost, m); });
        count(cost, layer.experts.front(), config.experts_per_token);
        count(cost, layer.shared);
    }
    count(cost, weights.head_mix.fn);
    count(cost, weights.head);
    return cost;
}

}  // namespace cachalot
