// The indexer of CSA layers.
//
//   queries:  q [rows, heads, n]: rotation, Hadamard, FP4; a block for each head of each row
//   scores:   I[row, j] = sum over heads of relu(q_h . k_j) * w_h / sqrt(n * heads), for the visible keys j
//   select:   the top_k best of each row, ascending; of equal ones those that come first
//
// Scores: a block holds the queries of a row in shared memory (heads x n floats, 32 KB in V4) and works on
// keys j = 4 * block + warp, + 4 * blocks, ...; a warp decodes a key, and each lane multiplies it with heads
// lane, lane + 32. The order in which heads are added is fixed. grid: (most_visible / 64, at most 64; rows).
//
// Select: a block for each row finds the top_k-th best score by its digits, 8 bits at a time from the
// highest: floats are mapped to integers of the same order. Then it goes through the scores in order and
// writes the number of each that is better, and of those that are equal as many as are left.
#include "device/cuda_error.h"
#include "kernels/cuda/choose.h"
#include "kernels/cuda/row_format.cuh"

namespace cachalot::cuda {
namespace {

constexpr int kScoreThreads = 128, kSelectThreads = 1024, kQueryThreads = 64;

extern __shared__ float memory[];

__device__ std::int64_t visible_rows(const ChooseCall& c, std::int64_t row) {
    return (c.batch.positions[row] + 1) / c.ratio;
}

__global__ void __launch_bounds__(kQueryThreads) index_queries_kernel(const __grid_constant__ ChooseCall c) {
    const std::int64_t row = blockIdx.y;
    const int n = c.format.size, half = c.rotary.half;
    float* q = c.q + (row * c.heads + blockIdx.x) * n;
    float* x = memory;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kQueryThreads) x[i] = q[i];
    __syncthreads();
    rotate(x, n, half, [&](int i, float* sine, float* cosine) {
        *sine = c.rotary.sine[row * half + i];
        *cosine = c.rotary.cosine[row * half + i];
    });
    if (c.hadamard) hadamard(x, n);
    __syncthreads();
    if (c.format.kind == RowFormat::Kind::fp4_key) round_fp4(x, n);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kQueryThreads) q[i] = x[i];
}

__global__ void __launch_bounds__(kScoreThreads) index_scores_kernel(const __grid_constant__ ChooseCall c) {
    const std::int64_t row = blockIdx.y, visible = visible_rows(c, row);
    if (visible <= c.top_k) return;               // attention takes them all
    const int n = c.format.size, stride = n + 1;  // so that the heads of a warp lie in different banks
    float* q = memory;                            // [heads, n + 1]
    float* key = memory + c.heads * stride + warp() * n;  // [warps, n]
    for (int i = static_cast<int>(threadIdx.x); i < c.heads * n; i += kScoreThreads)
        q[i / n * stride + i % n] = c.q[row * c.heads * n + i];
    __syncthreads();
    const float scale = 1.0f / sqrtf(static_cast<float>(n) * static_cast<float>(c.heads));
    const PagedView keys = c.keys.view(c.batch.sequences[c.batch.sequence[row]]);
    for (std::int64_t j = std::int64_t(blockIdx.x) * warps() + warp(); j < visible;
         j += std::int64_t(gridDim.x) * warps()) {
        const std::byte* stored = keys.row(j);
        __syncwarp();
        for (int i = lane(); i < n; i += kWarp) key[i] = row_element(c.format, stored, i);
        __syncwarp();
        float sum = 0;
        for (int h = lane(); h < c.heads; h += kWarp) {
            float dot = 0;
            for (int i = 0; i < n; ++i) dot += q[h * stride + i] * key[i];
            sum += fmaxf(0.0f, dot) * (c.weights[row * c.heads + h] * scale);
        }
        sum = warp_sum(sum);
        if (lane() == 0) c.scores[row * c.score_stride + j] = isnan(sum) ? -INFINITY : sum;
    }
}

// An integer that is larger where the float is; -0 is 0.
__device__ std::uint32_t ordered(float f) {
    const std::uint32_t bits = f == 0.0f ? 0u : __float_as_uint(f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__global__ void __launch_bounds__(kSelectThreads) index_select_kernel(const __grid_constant__ ChooseCall c) {
    const std::int64_t row = blockIdx.x, visible = visible_rows(c, row);
    if (visible <= c.top_k) return;
    const float* scores = c.scores + row * c.score_stride;
    std::int32_t* out = c.selected + row * c.top_k;
    __shared__ int histogram[256];
    __shared__ std::uint32_t found;  // the digits of the top_k-th best so far
    __shared__ int left;             // how many of those that have these digits are taken
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0) {
        found = 0;
        left = c.top_k;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        if (thread < 256) histogram[thread] = 0;
        __syncthreads();
        const std::uint32_t digits = found, mask = shift == 24 ? 0u : ~0u << (shift + 8);
        for (std::int64_t j = thread; j < visible; j += kSelectThreads) {
            const std::uint32_t v = ordered(scores[j]);
            if ((v & mask) == digits) atomicAdd(&histogram[v >> shift & 255], 1);
        }
        __syncthreads();
        if (thread == 0) {
            int digit = 255, better = 0;
            while (digit > 0 && better + histogram[digit] < left) better += histogram[digit--];
            left -= better;
            found = digits | static_cast<std::uint32_t>(digit) << shift;
        }
        __syncthreads();
    }
    __shared__ int of_warp[2][kWarp];  // better ones and equal ones of each warp
    int written = 0, equal_seen = 0;
    const std::uint32_t threshold = found;
    const int equals = left;
    for (std::int64_t first = 0; first < visible && written < c.top_k; first += kSelectThreads) {
        const std::int64_t j = first + thread;
        const std::uint32_t v = j < visible ? ordered(scores[j]) : 0;
        const bool better = j < visible && v > threshold, equal = j < visible && v == threshold;
        const unsigned better_lanes = __ballot_sync(kAllLanes, better),
                       equal_lanes = __ballot_sync(kAllLanes, equal), before = (1u << lane()) - 1;
        __syncthreads();
        if (lane() == 0) {
            of_warp[0][warp()] = __popc(better_lanes);
            of_warp[1][warp()] = __popc(equal_lanes);
        }
        __syncthreads();
        const int betters = of_warp[0][lane()], equals_here = of_warp[1][lane()];
        const int better_prefix = warp_prefix(betters), equal_prefix = warp_prefix(equals_here);
        const auto before_warp = [&](int prefix, int own) {
            return __shfl_sync(kAllLanes, prefix - own, warp());
        };
        const int better_rank = before_warp(better_prefix, betters) + __popc(better_lanes & before);
        const int equal_rank =
            equal_seen + before_warp(equal_prefix, equals_here) + __popc(equal_lanes & before);
        // Of those before this one: the better ones, and the equal ones that are taken.
        const int place = written + better_rank + min(equal_rank, equals) - min(equal_seen, equals);
        if (better || (equal && equal_rank < equals)) out[place] = static_cast<std::int32_t>(j);
        const int all_better = __shfl_sync(kAllLanes, better_prefix, kWarp - 1),
                  all_equal = __shfl_sync(kAllLanes, equal_prefix, kWarp - 1);
        written += all_better + min(equal_seen + all_equal, equals) - min(equal_seen, equals);
        equal_seen += all_equal;
    }
}

}  // namespace

void choose(const ChooseCall& c, CudaStreamHandle stream) {
    if (c.batch.rows == 0) return;
    const auto rows = static_cast<unsigned>(c.batch.rows);
    const auto n = static_cast<std::size_t>(c.format.size), heads = static_cast<std::size_t>(c.heads);
    index_queries_kernel<<<dim3(static_cast<unsigned>(c.heads), rows), kQueryThreads, sizeof(float) * n,
                           stream>>>(c);
    check_launch("index_queries_kernel");
    if (c.most_visible <= c.top_k) return;
    const std::size_t shared = sizeof(float) * (heads * (n + 1) + kScoreThreads / kWarp * n);
    if (shared > 48 << 10)
        check_cuda(cudaFuncSetAttribute(index_scores_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared)),
                   "cudaFuncSetAttribute");
    const auto parts = static_cast<unsigned>(min(std::int64_t(64), (c.most_visible + 63) / 64));
    index_scores_kernel<<<dim3(parts, rows), kScoreThreads, shared, stream>>>(c);
    check_launch("index_scores_kernel");
    index_select_kernel<<<rows, kSelectThreads, 0, stream>>>(c);
    check_launch("index_select_kernel");
}

}  // namespace cachalot::cuda
