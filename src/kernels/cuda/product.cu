// y = W x, the general way: any type of weights, float32 activations.
//
//   W [N, K] of up to 16 matrices, x [rows, K], y [rows, N]
//
// A warp computes one row of W times up to kRows rows of x. Lane i takes groups of 32 columns i, i + 32, ...:
// it decodes a group once and multiplies it with each row of x. At the end the lanes are summed. So a result
// does not depend on how many rows there are. grid: (N of all matrices / 8, rows / kRows), 8 warps a block.
//
// This reads weights at a part of what memory could give: lanes load a few bytes at a time.
#include <algorithm>

#include "device/cuda_error.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/formats.h"
#include "kernels/cuda/product.h"

namespace cachalot::cuda {
namespace {

constexpr int kWarps = 8;

struct Part {
    Matrix weight;
    const float* x;
    float* y;
    std::int64_t x_stride, y_stride;
    std::int64_t end;  // rows of this matrix and of those before it
};

struct Parts {
    Part part[kMostProjections];
    int count;
    int rows;
    Grids grids;
};

template <int kRows>
__global__ void __launch_bounds__(kWarps* kWarp) project_kernel(const __grid_constant__ Parts all) {
    std::int64_t n = std::int64_t(blockIdx.x) * kWarps + warp();
    int i = 0;
    while (i < all.count && n >= all.part[i].end) ++i;
    if (i == all.count) return;
    const Part& p = all.part[i];
    if (i > 0) n -= all.part[i - 1].end;
    const int first = static_cast<int>(blockIdx.y) * kRows;
    const int rows = min(kRows, all.rows - first);
    const float* x = p.x + first * p.x_stride;

    float sum[kRows] = {};
    float w[kGroup];
    for (std::int64_t g = lane(); g < p.weight.columns / kGroup; g += kWarp) {
        decode_group(p.weight, n, g, all.grids, w);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (r >= rows) break;
            const auto* from = reinterpret_cast<const float4*>(x + r * p.x_stride + g * kGroup);
            float part = 0;
#pragma unroll
            for (int k = 0; k < kGroup / 4; ++k) {
                const float4 v = from[k];
                part += w[4 * k] * v.x + w[4 * k + 1] * v.y + w[4 * k + 2] * v.z + w[4 * k + 3] * v.w;
            }
            sum[r] += part;
        }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (r >= rows) break;
        const float total = warp_sum(sum[r]);
        if (lane() == 0) p.y[(first + r) * p.y_stride + n] = total;
    }
}

}  // namespace

void project(std::span<const Projection> projections, int rows, const Grids& grids, CudaStreamHandle stream) {
    Parts all{};
    all.count = static_cast<int>(projections.size());
    all.rows = rows;
    all.grids = grids;
    std::int64_t end = 0;
    for (int i = 0; i < all.count; ++i) {
        const Projection& p = projections[static_cast<std::size_t>(i)];
        end += p.weight->rows;
        all.part[i] = {*p.weight, p.x, p.y, p.x_stride, p.y_stride, end};
    }
    if (rows == 0 || end == 0) return;
    const auto blocks = static_cast<unsigned>((end + kWarps - 1) / kWarps);
    if (rows == 1) {
        project_kernel<1><<<blocks, kWarps * kWarp, 0, stream>>>(all);
    } else {
        constexpr int kRows = 8;
        project_kernel<kRows>
            <<<dim3(blocks, static_cast<unsigned>((rows + kRows - 1) / kRows)), kWarps * kWarp, 0, stream>>>(
                all);
    }
    check_launch("project_kernel");
}

}  // namespace cachalot::cuda
