#include "model/cost.h"

#include "model/model_tensors.h"

namespace cachalot {

using Role = TensorSpec::Role;

WeightBytes weight_bytes(const Config& config, const Weights& weights) {
    WeightBytes sum;
    each_matrix(config, weights, [&](const TensorSpec& spec, const Matrix& m) {
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
    });
    for (const LayerWeights& layer : weights.layers) sum.engram += layer.engram.table.bytes();
    return sum;
}

TokenCost token_cost(const Config& config, const Weights& weights) {
    TokenCost all, chosen;  // every expert of every layer
    each_matrix(config, weights, [&](const TensorSpec& spec, const Matrix& m) {
        if (spec.role == Role::embedding) return;
        TokenCost& cost = spec.role == Role::experts ? chosen : all;
        cost.bytes += m.bytes();
        cost.operations += 2 * m.rows * m.columns;
    });
    return {all.bytes + chosen.bytes / config.experts * config.experts_per_token,
            all.operations + chosen.operations / config.experts * config.experts_per_token};
}

}  // namespace cachalot
