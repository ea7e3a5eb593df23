// The experts of each row, the general way: any type of weights, float32 activations.
//
//   x [rows, H] ─ gate, up [I, H] ─► inner [rows, top_k + 1, I] ─ down [H, I] ─► y [rows, H]
//
// Slot s of a row is its choice s; the last slot is the shared expert. A warp computes one row of gate and
// the same row of up for one slot (grid: I / 8, slots, rows), then one row of y, slot after slot, so that the
// sum over the slots has the order of the choices (grid: H / 8, rows). Experts that several rows chose are
// read once for each of them.
#include "device/cuda_error.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/formats.h"

namespace cachalot::cuda {
namespace {

constexpr int kWarps = 8;

// Row n of W times x; the lane's share.
__device__ float partial_product(const Matrix& w, std::int64_t n, const float* x, const Grids& grids) {
    float sum = 0, group[kGroup];
    for (std::int64_t g = lane(); g < w.columns / kGroup; g += kWarp) {
        decode_group(w, n, g, grids, group);
        const auto* from = reinterpret_cast<const float4*>(x + g * kGroup);
        float part = 0;
#pragma unroll
        for (int k = 0; k < kGroup / 4; ++k) {
            const float4 v = from[k];
            part +=
                group[4 * k] * v.x + group[4 * k + 1] * v.y + group[4 * k + 2] * v.z + group[4 * k + 3] * v.w;
        }
        sum += part;
    }
    return sum;
}

__global__ void __launch_bounds__(kWarps* kWarp) expert_inner_kernel(const __grid_constant__ ExpertsCall c) {
    const std::int64_t row = blockIdx.z;
    const int slot = static_cast<int>(blockIdx.y);
    const bool shared = slot == c.top_k;
    const ExpertWeights& e = shared ? c.shared : c.routed[c.ids[row * c.top_k + slot]];
    const std::int64_t n = std::int64_t(blockIdx.x) * kWarps + warp();
    if (n >= e.gate.rows) return;
    const float* x = c.x + row * e.gate.columns;
    const float limit = shared ? c.shared_limit : c.limit;
    const float gate = fminf(warp_sum(partial_product(e.gate, n, x, c.grids)), limit);
    const float up = fminf(fmaxf(warp_sum(partial_product(e.up, n, x, c.grids)), -limit), limit);
    const float weight = shared ? 1.0f : c.weights[row * c.top_k + slot];
    if (lane() == 0)
        c.inner[(row * (c.top_k + 1) + slot) * c.shared.gate.rows + n] =
            weight * (gate / (1.0f + expf(-gate))) * up;
}

__global__ void __launch_bounds__(kWarps* kWarp) expert_output_kernel(const __grid_constant__ ExpertsCall c) {
    const std::int64_t row = blockIdx.y, n = std::int64_t(blockIdx.x) * kWarps + warp();
    if (n >= c.shared.down.rows) return;
    float sum = 0;
    for (int slot = 0; slot <= c.top_k; ++slot) {
        const ExpertWeights& e = slot == c.top_k ? c.shared : c.routed[c.ids[row * c.top_k + slot]];
        const float* inner = c.inner + (row * (c.top_k + 1) + slot) * c.shared.gate.rows;
        sum += warp_sum(partial_product(e.down, n, inner, c.grids));
    }
    if (lane() == 0) c.y[row * c.shared.down.rows + n] = sum;
}

}  // namespace

void experts(const ExpertsCall& c, CudaStreamHandle stream) {
    if (c.rows == 0) return;
    const auto blocks = [](std::int64_t n) { return static_cast<unsigned>((n + kWarps - 1) / kWarps); };
    const auto rows = static_cast<unsigned>(c.rows);
    expert_inner_kernel<<<dim3(blocks(c.shared.gate.rows), static_cast<unsigned>(c.top_k + 1), rows),
                          kWarps * kWarp, 0, stream>>>(c);
    check_launch("expert_inner_kernel");
    expert_output_kernel<<<dim3(blocks(c.shared.down.rows), rows), kWarps * kWarp, 0, stream>>>(c);
    check_launch("expert_output_kernel");
}

}  // namespace cachalot::cuda
