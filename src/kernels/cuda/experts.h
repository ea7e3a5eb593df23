// The experts of a layer: those that the router chose for each row, and the shared one.
#pragma once

#include <cstdint>

#include "device/cuda_device.h"
#include "kernels/cuda/grids.h"
#include "kernels/expert_supply.h"

namespace cachalot::cuda {

// y[row] = sum over the row's choices, in their order, of weight * expert(x[row]), and shared(x[row]), where
//     expert(x) = down (silu(min(gate x, limit)) * clamp(up x, -limit, limit))
// Addresses are of the card, also those in the matrices.
struct ExpertsCall {
    int rows = 0;
    const float* x = nullptr;  // [rows, H]
    float* y = nullptr;        // [rows, H]
    float* inner = nullptr;    // [rows, top_k + 1, I], room to compute in
    int top_k = 0;
    const std::int32_t* ids = nullptr;      // [rows, top_k]
    const float* weights = nullptr;         // [rows, top_k]
    const ExpertWeights* routed = nullptr;  // [E], on the card
    ExpertWeights shared;
    float limit = 0, shared_limit = 0;
    Grids grids;
};

void experts(const ExpertsCall& call, CudaStreamHandle stream);

}  // namespace cachalot::cuda
