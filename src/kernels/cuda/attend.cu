// Attention over one latent a token, which is key and value of every head.
//
//   q [rows, heads, D], keys: window rows, compressed rows -> out [rows, heads, D]
//   out_h = sum over keys of p_h k / (sum of p_h + exp(sink_h)), p_h = exp(q_h . k / sqrt(D))
//
// A block computes kHeads heads of one row (grid: heads / kHeads, rows; 256 threads). It goes through the
// keys kTile at a time: all threads decode them to shared memory, each warp takes the scores of some pairs of
// head and key, then each thread adds its dims of the values, for all heads. The maximum of the scores so far
// is subtracted, and what was added before is scaled when it grows, so any number of keys takes the same
// memory. The order of the sums depends on nothing but the number of keys.
#include "device/cuda_error.h"
#include "kernels/cuda/attend.h"
#include "kernels/cuda/attend_keys.cuh"
#include "kernels/cuda/row_format.cuh"

namespace cachalot::cuda {
namespace {

constexpr int kThreads = 256, kHeads = 8, kTile = 16;
constexpr int kDims = kMostHeadDim / kThreads;  // most of a thread

extern __shared__ float memory[];

__global__ void __launch_bounds__(kThreads) attend_kernel(const __grid_constant__ AttendCall c) {
    const std::int64_t row = blockIdx.y;
    const int first_head = static_cast<int>(blockIdx.x) * kHeads, heads = min(kHeads, c.heads - first_head);
    const int D = c.window_format.size, thread = static_cast<int>(threadIdx.x);
    float* q = memory;             // [kHeads, D]
    float* keys = q + kHeads * D;  // [kTile, D]
    __shared__ float score[kHeads][kTile];
    const Keys seen(c, row);
    const float* from = c.q + (row * c.heads + first_head) * D;
    for (int i = thread; i < heads * D; i += kThreads) q[i] = from[i];
    const float scale = 1.0f / sqrtf(static_cast<float>(D));

    float sum[kHeads][kDims] = {}, largest[kHeads], weight[kHeads];
#pragma unroll
    for (int h = 0; h < kHeads; ++h) largest[h] = -INFINITY, weight[h] = 0;
    for (std::int64_t first = 0; first < seen.count; first += kTile) {
        const int tile = static_cast<int>(min(std::int64_t(kTile), seen.count - first));
        __syncthreads();
        for (int i = thread; i < tile * D; i += kThreads)
            keys[i] = row_element(seen.format(first + i / D), seen.row(first + i / D), i % D);
        __syncthreads();
        for (int pair = warp(); pair < heads * kTile; pair += warps()) {
            const int h = pair / kTile, k = pair % kTile;
            float dot = 0;
            if (k < tile)
                for (int i = lane(); i < D; i += kWarp) dot += q[h * D + i] * keys[k * D + i];
            dot = warp_sum(dot);
            if (lane() == 0) score[h][k] = k < tile ? dot * scale : -INFINITY;
        }
        __syncthreads();
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            if (h >= heads) break;
            float most = largest[h];
            for (int k = 0; k < tile; ++k) most = fmaxf(most, score[h][k]);
            const float shrink = expf(largest[h] - most);
            largest[h] = most;
            weight[h] *= shrink;
#pragma unroll
            for (int d = 0; d < kDims; ++d) sum[h][d] *= shrink;
            for (int k = 0; k < tile; ++k) {
                const float p = expf(score[h][k] - most);
                weight[h] += p;
#pragma unroll
                for (int d = 0; d < kDims; ++d)
                    if (const int i = thread + d * kThreads; i < D) sum[h][d] += p * keys[k * D + i];
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
        if (h >= heads) break;
        const float total = weight[h] + expf(c.sinks[first_head + h] - largest[h]);
#pragma unroll
        for (int d = 0; d < kDims; ++d)
            if (const int i = thread + d * kThreads; i < D) q[h * D + i] = sum[h][d] / total;
    }
    __syncthreads();
    // Keys are values, so the output carries their rotation; turning it back makes it relative to the query.
    const int half = c.rotary.half;
    for (int h = 0; h < heads; ++h)
        rotate(q + h * D, D, half, [&](int i, float* sine, float* cosine) {
            *sine = -c.rotary.sine[row * half + i];
            *cosine = c.rotary.cosine[row * half + i];
        });
    __syncthreads();
    float* out = c.out + (row * c.heads + first_head) * D;
    for (int i = thread; i < heads * D; i += kThreads) out[i] = q[i];
}

}  // namespace

void attend(const AttendCall& c, CudaStreamHandle stream) {
    if (c.batch.rows == 0) return;
    const std::size_t shared =
        sizeof(float) * static_cast<std::size_t>((kHeads + kTile) * c.window_format.size);
    if (shared > 32 << 10)
        check_cuda(cudaFuncSetAttribute(attend_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared)),
                   "cudaFuncSetAttribute");
    attend_kernel<<<dim3(static_cast<unsigned>((c.heads + kHeads - 1) / kHeads),
                         static_cast<unsigned>(c.batch.rows)),
                    kThreads, shared, stream>>>(c);
    check_launch("attend_kernel");
}

}  // namespace cachalot::cuda
