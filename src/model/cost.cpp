#include "model/cost.h"

namespace cachalot {
namespace {

using Role = TensorSpec::Role;

void add(WeightBytes& sum, const TensorSpec& spec, const Matrix& m) {
    const auto bytes = static_cast<std::uint64_t>(m.bytes());
    switch (spec.role) {
        case Role::embedding: sum.embedding += bytes; break;
        case Role::experts: sum.routed_experts += bytes; break;
        case Role::shared_experts: sum.shared_experts += bytes; break;
        case Role::engram: break;
        case Role::head:
        case Role::dense:
        case Role::sensitive: sum.dense += bytes; break;
    }
}

// `source`: Weights or TypeOf.
template <class Source>
TokenCost cost_of(const Config& config, const Source& source) {
    TokenCost all, chosen;  // every expert of every layer
    each_matrix(config, source, [&](const TensorSpec& spec, const Matrix& m) {
        if (spec.role == Role::embedding) return;
        TokenCost& cost = spec.role == Role::experts ? chosen : all;
        cost.bytes += m.bytes();
        cost.operations += 2 * m.rows * m.columns;
    });
    return {all.bytes + chosen.bytes / config.experts * config.experts_per_token,
            all.operations + chosen.operations / config.experts * config.experts_per_token};
}

}  // namespace

WeightBytes weight_bytes(const Config& config, const Weights& weights) {
    WeightBytes sum;
    each_matrix(config, weights, [&](const TensorSpec& spec, const Matrix& m) { add(sum, spec, m); });
    for (const LayerWeights& layer : weights.layers) sum.engram += layer.engram.table.bytes();
    return sum;
}

WeightBytes weight_bytes(const Config& config, const TypeOf& type) {
    WeightBytes sum;
    each_matrix(config, type, [&](const TensorSpec& spec, const Matrix& m) { add(sum, spec, m); });
    const std::int64_t row = config.engram.row_size + config.engram.row_size / kEngramBlock;
    for (const std::int64_t rows : config.engram.rows) sum.engram += static_cast<std::uint64_t>(rows * row);
    return sum;
}

TokenCost token_cost(const Config& config, const Weights& weights) { return cost_of(config, weights); }

TokenCost token_cost(const Config& config, const TypeOf& type) { return cost_of(config, type); }

}  // namespace cachalot
