// Hyper-connections: how a sub-layer reads the four residual streams, and how it writes back.
#pragma once

#include <cstdint>

#include "device/cuda_device.h"
#include "kernels/cuda/grids.h"
#include "kernels/primitives.h"

namespace cachalot::cuda {

// What the mixing of a sub-layer or of the head needs; addresses of the card. S = 4.
struct MixCall {
    HyperConnectionWeights weights;
    HyperConnectionParams params;
    const float* norm = nullptr;           // [H]; null: x is not normalised
    const float* streams = nullptr;        // [all rows, S, H]
    const std::int32_t* wanted = nullptr;  // [rows] which of the rows; null: all in order
    int rows = 0;
    float* dots = nullptr;  // [rows, kDots], room to compute in
    float* x = nullptr;     // [rows, H]
    float* post = nullptr;  // [rows, S]; the head has none of these two
    float* comb = nullptr;  // [rows, S (source), S (destination)]
    Grids grids;

    static constexpr int kDots = 32;  // 24 of a sub-layer, 4 of the head, and the sum of squares behind them
};

// Primitives::hyper_connection_pre and hyper_connection_head.
void mix(const MixCall& call, CudaStreamHandle stream);

// Primitives::hyper_connection_post: streams[k] = post[k] * out + sum over j of comb[j][k] * streams[j]
void spread(const float* out, const float* post, const float* comb, float* streams, int hidden, int rows,
            CudaStreamHandle stream);

}  // namespace cachalot::cuda
