// Operations on single rows of activations.
#pragma once

#include <cstdint>

#include "device/cuda_device.h"
#include "kernels/cuda/batch_view.h"
#include "kernels/cuda/grids.h"
#include "tensor/matrix.h"

namespace cachalot::cuda {

// Angles of the rows of a pass: float(position) * frequency, as cosines and sines.
struct RotaryTable {
    const float* frequencies = nullptr;  // [half]
    float* cosine = nullptr;             // [rows, half]
    float* sine = nullptr;               // [rows, half]
};
void rotary_tables(const BatchView& batch, const RotaryTable& plain, const RotaryTable& compressed, int half,
                   CudaStreamHandle stream);

// x[row] = the token's embedding, in each of the four streams. streams: [rows, 4, H]
void embed(const BatchView& batch, const Matrix& table, const Grids& grids, float* streams,
           CudaStreamHandle stream);

// x[row] = weight * x[row] / rms(x[row]), in place. x: [rows, n]
void rms_norm(float* x, const float* weight, float eps, int rows, int n, CudaStreamHandle stream);

// Every head is RMS-normalised without a weight, if `normalise`, then its last 2 * rotary.half dims are
// rotated. q: [rows, heads, D], D a multiple of 2
void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                 int head_dim, CudaStreamHandle stream);

}  // namespace cachalot::cuda
