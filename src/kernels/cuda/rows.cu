// Operations on single rows of activations: each is a block, or a warp, for a row or a head of it.
#include "device/cuda_error.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/formats.h"
#include "kernels/cuda/rows.h"

namespace cachalot::cuda {
namespace {

constexpr int kThreads = 256;

// Both tables; a thread for each angle. The argument may be a million radians, so it is the accurate cosine.
__global__ void rotary_kernel(const std::int64_t* positions, int rows, RotaryTable plain,
                              RotaryTable compressed, int half) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= rows * half) return;
    const auto position = static_cast<float>(positions[i / half]);
    for (const RotaryTable& table : {plain, compressed}) {
        float sine, cosine;
        sincosf(position * table.frequencies[i % half], &sine, &cosine);
        table.cosine[i] = cosine;
        table.sine[i] = sine;
    }
}

// grid: rows; a thread decodes groups of 32 columns.
__global__ void embed_kernel(const std::int32_t* tokens, const __grid_constant__ Matrix table,
                             const __grid_constant__ Grids grids, float* streams) {
    const std::int64_t row = blockIdx.x, H = table.columns;
    float values[kGroup];
    for (std::int64_t g = threadIdx.x; g < H / kGroup; g += blockDim.x) {
        decode_group(table, tokens[row], g, grids, values);
        for (int s = 0; s < 4; ++s)
            for (int i = 0; i < kGroup; ++i) streams[(row * 4 + s) * H + g * kGroup + i] = values[i];
    }
}

// grid: rows
__global__ void __launch_bounds__(kThreads) rms_norm_kernel(float* x, const float* weight, float eps, int n) {
    x += std::int64_t(blockIdx.x) * n;
    float squares = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) squares += x[i] * x[i];
    const float factor = rsqrtf(block_sum(squares) / static_cast<float>(n) + eps);
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) x[i] = x[i] * factor * weight[i];
}

// grid: heads, rows; a warp for a head. A lane has neighbouring pairs of dims, which are rotated together.
__global__ void query_heads_kernel(float* q, bool normalise, float eps, const RotaryView rotary,
                                   int head_dim) {
    const std::int64_t row = blockIdx.y;
    auto* pairs = reinterpret_cast<float2*>(q + (row * gridDim.x + blockIdx.x) * head_dim);
    const int count = head_dim / 2;
    float factor = 1.0f;
    if (normalise) {
        float squares = 0;
        for (int i = lane(); i < count; i += kWarp)
            squares += pairs[i].x * pairs[i].x + pairs[i].y * pairs[i].y;
        factor = rsqrtf(warp_sum(squares) / static_cast<float>(head_dim) + eps);
    }
    for (int i = lane(); i < count; i += kWarp) {
        float2 v = pairs[i];
        v.x *= factor;
        v.y *= factor;
        if (const int angle = i - (count - rotary.half); angle >= 0) {
            const float c = rotary.cosine[row * rotary.half + angle],
                        s = rotary.sine[row * rotary.half + angle];
            v = {v.x * c - v.y * s, v.x * s + v.y * c};
        }
        pairs[i] = v;
    }
}

unsigned blocks(std::int64_t n, std::int64_t of) { return static_cast<unsigned>((n + of - 1) / of); }

}  // namespace

void rotary_tables(const BatchView& batch, const RotaryTable& plain, const RotaryTable& compressed, int half,
                   CudaStreamHandle stream) {
    if (batch.rows == 0 || half == 0) return;
    rotary_kernel<<<blocks(std::int64_t(batch.rows) * half, 128), 128, 0, stream>>>(
        batch.positions, batch.rows, plain, compressed, half);
    check_launch("rotary_kernel");
}

void embed(const BatchView& batch, const Matrix& table, const Grids& grids, float* streams,
           CudaStreamHandle stream) {
    if (batch.rows == 0) return;
    embed_kernel<<<static_cast<unsigned>(batch.rows), 128, 0, stream>>>(batch.tokens, table, grids, streams);
    check_launch("embed_kernel");
}

void rms_norm(float* x, const float* weight, float eps, int rows, int n, CudaStreamHandle stream) {
    if (rows == 0) return;
    rms_norm_kernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(x, weight, eps, n);
    check_launch("rms_norm_kernel");
}

void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                 int head_dim, CudaStreamHandle stream) {
    if (rows == 0) return;
    query_heads_kernel<<<dim3(static_cast<unsigned>(heads), static_cast<unsigned>(rows)), kWarp, 0, stream>>>(
        q, normalise, eps, rotary, head_dim);
    check_launch("query_heads_kernel");
}

}  // namespace cachalot::cuda
