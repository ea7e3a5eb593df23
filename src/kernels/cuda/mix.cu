// Hyper-connections. The streams X of a row are one vector v of 4H numbers.
//
//   mix:     m = (fn v) / rms(v)           fn [24 or 4, 4H]
//            pre [4], post [4], comb [4, 4] = functions of m
//            x = norm(sum over j of pre[j] X_j)
//   spread:  X_k = post[k] out + sum over j of comb[j][k] X_j
//
// A mix is two kernels. One takes the products of v with the rows of fn, and its sum of squares, a block for
// each (grid: 25 or 5, rows; 256 threads): fn is a megabyte and a half in V4-Flash, more than one
// multiprocessor can read in time. The other has a block for each row: its last warp makes comb doubly
// stochastic while the others collapse the streams.
#include "device/cuda_error.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/formats.h"
#include "kernels/cuda/mix.h"

namespace cachalot::cuda {
namespace {

constexpr int S = 4;
constexpr int kThreads = 256;

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ std::int64_t source_row(const MixCall& c) {
    return c.wanted ? c.wanted[blockIdx.y] : static_cast<std::int64_t>(blockIdx.y);
}

__global__ void __launch_bounds__(kThreads) mix_dots_kernel(const __grid_constant__ MixCall c) {
    const std::int64_t n = std::int64_t(S) * c.params.hidden, row = blockIdx.y;
    const int j = static_cast<int>(blockIdx.x);
    const bool squares = j == c.weights.fn.rows;
    const float* v = c.streams + source_row(c) * n;
    float sum = 0, w[kGroup];
    for (std::int64_t g = threadIdx.x; g < n / kGroup; g += kThreads) {
        const auto* from = reinterpret_cast<const float4*>(v + g * kGroup);
        if (!squares) decode_group(c.weights.fn, j, g, c.grids, w);
#pragma unroll
        for (int k = 0; k < kGroup / 4; ++k) {
            const float4 x = from[k];
            sum += squares ? x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w
                           : w[4 * k] * x.x + w[4 * k + 1] * x.y + w[4 * k + 2] * x.z + w[4 * k + 3] * x.w;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) c.dots[row * MixCall::kDots + j] = sum;
}

// c[j][k] in lane 4j + k, of the first half of a warp: softmax over k, then alternating normalisation,
// columns last.
__device__ float sinkhorn(float c, int iterations, float eps) {
    const auto over_k = [](float v) {
        v += __shfl_xor_sync(kAllLanes, v, 1);
        return v + __shfl_xor_sync(kAllLanes, v, 2);
    };
    const auto over_j = [](float v) {
        v += __shfl_xor_sync(kAllLanes, v, 4);
        return v + __shfl_xor_sync(kAllLanes, v, 8);
    };
    float largest = fmaxf(c, __shfl_xor_sync(kAllLanes, c, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    c = expf(c - largest);
    c = c / over_k(c) + eps;
    c = c / (over_j(c) + eps);
    for (int i = 1; i < iterations; ++i) {
        c = c / (over_k(c) + eps);
        c = c / (over_j(c) + eps);
    }
    return c;
}

__global__ void __launch_bounds__(kThreads) mix_collapse_kernel(const __grid_constant__ MixCall c) {
    const HyperConnectionParams& p = c.params;
    const std::int64_t row = blockIdx.y, H = p.hidden;
    const float* dots = c.dots + row * MixCall::kDots;
    const float inverse = rsqrtf(dots[c.weights.fn.rows] / static_cast<float>(S * H) + p.norm_eps);
    const auto m = [&](int i) { return dots[i] * inverse; };
    const float *base = c.weights.base, *scale = c.weights.scale;

    if (c.comb && warp() == warps() - 1) {
        const int i = lane() % (S * S);
        const float mixed = sinkhorn(m(2 * S + i) * scale[2] + base[2 * S + i], p.sinkhorn_iterations, p.eps);
        if (lane() < S * S) c.comb[row * S * S + i] = mixed;
        if (lane() < S) c.post[row * S + i] = 2 * sigmoid(m(S + i) * scale[1] + base[S + i]);
    }
    float pre[S];
    for (int j = 0; j < S; ++j) pre[j] = sigmoid(m(j) * scale[0] + base[j]) + p.eps;
    const float* streams = c.streams + source_row(c) * S * H;
    float* x = c.x + row * H;
    float squares = 0;
    for (std::int64_t i = threadIdx.x; i < H; i += kThreads) {
        float sum = 0;
        for (int j = 0; j < S; ++j) sum += pre[j] * streams[j * H + i];
        squares += sum * sum;
        x[i] = sum;
    }
    if (!c.norm) return;
    const float factor = rsqrtf(block_sum(squares) / static_cast<float>(H) + p.norm_eps);
    for (std::int64_t i = threadIdx.x; i < H; i += kThreads) x[i] = x[i] * factor * c.norm[i];
}

__global__ void __launch_bounds__(kThreads)
    spread_kernel(const float* out, const float* post, const float* comb, float* streams, int hidden) {
    const std::int64_t row = blockIdx.y, i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, H = hidden;
    if (i >= H) return;
    float* x = streams + row * S * H + i;
    float old[S];
    for (int j = 0; j < S; ++j) old[j] = x[j * H];
    const float y = out[row * H + i];
    for (int k = 0; k < S; ++k) {
        float sum = post[row * S + k] * y;
        for (int j = 0; j < S; ++j) sum += comb[row * S * S + S * j + k] * old[j];
        x[k * H] = sum;
    }
}

}  // namespace

void mix(const MixCall& call, CudaStreamHandle stream) {
    if (call.rows == 0) return;
    const auto rows = static_cast<unsigned>(call.rows);
    mix_dots_kernel<<<dim3(static_cast<unsigned>(call.weights.fn.rows + 1), rows), kThreads, 0, stream>>>(
        call);
    check_launch("mix_dots_kernel");
    mix_collapse_kernel<<<dim3(1, rows), kThreads, 0, stream>>>(call);
    check_launch("mix_collapse_kernel");
}

void spread(const float* out, const float* post, const float* comb, float* streams, int hidden, int rows,
            CudaStreamHandle stream) {
    if (rows == 0) return;
    const auto parts = static_cast<unsigned>((hidden + kThreads - 1) / kThreads);
    spread_kernel<<<dim3(parts, static_cast<unsigned>(rows)), kThreads, 0, stream>>>(out, post, comb, streams,
                                                                                     hidden);
    check_launch("spread_kernel");
}

}  // namespace cachalot::cuda
