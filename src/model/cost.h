// What one token costs, counted from the shapes and types of the weights.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/model_tensors.h"
#include "model/weights.h"

namespace cachalot {

struct TokenCost {
    std::int64_t bytes = 0;       // of weights read when a single token is evaluated (k of E experts)
    std::int64_t operations = 0;  // multiplications and additions in matrix products, two per weight used
};

// Bytes of the matrices, by what they are; vectors are small.
struct WeightBytes {
    std::uint64_t embedding = 0, dense = 0, shared_experts = 0, routed_experts = 0;
    std::uint64_t engram = 0;  // tables, which stay on disk
};
WeightBytes weight_bytes(const Config& config, const Weights& weights);
// Of a model that is not there, with Engram tables in FP8.
WeightBytes weight_bytes(const Config& config, const TypeOf& type);

// The embedding (one row), the rows of Engram tables and the attention over cached rows are not counted.
TokenCost token_cost(const Config& config, const Weights& weights);
TokenCost token_cost(const Config& config, const TypeOf& type);

}  // namespace cachalot
