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

}  // namespace

TokenCost token_cost(const Config& config, const Weights& weights) {
    TokenCost cost;
    for (const auto& layer : weights.layers) {
        const auto& a = layer.attention;
        for (const Matrix* m :
             {&layer.attention_mix.fn, &layer.expert_mix.fn, &a.q_a, &a.q_b, &a.kv, &a.output_b,
              &a.compressor.kv, &a.compressor.gate, &a.indexer.q_b, &a.indexer.weights,
              &a.indexer.compressor.kv, &a.indexer.compressor.gate, &layer.router})
            count(cost, *m);  // absent ones are empty
        for (const auto& m : a.output_a) count(cost, m);
        count(cost, layer.experts.front(), config.experts_per_token);
        count(cost, layer.shared);
    }
    count(cost, weights.head_mix.fn);
    count(cost, weights.head);
    return cost;
}

}  // namespace cachalot
