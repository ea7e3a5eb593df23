// y = W x as fast as memory gives W, for one to four rows of x.
//
//   W [N, K] of up to 16 matrices with the same K, Q8_0 or BF16; x [rows, K] float32; y [rows, N]
//
// One block for each multiprocessor, 8 warps. Each block has a run of the rows of all matrices, as many bytes
// as the others (the host deals them). Of its run the warps take rows, or pairs of short ones, in turn, and
// stream them (stream.cuh): pieces of at most kSlotBytes. Lane i computes groups of 32 columns i, i + 32, ...
// of Q8_0, or pieces of 8 columns of BF16; at the end of a row the lanes are summed. So a result does not
// depend on how many rows of x there are, nor on how the work was dealt.
//
// x lies in shared memory: rounded to int8 for Q8_0 (rounded_rows.cuh), float32 for BF16. A run may cross
// from a matrix with one x to another with the next (the groups of attention's output), so there is room for
// two.
#include <algorithm>

#include "device/cuda_error.h"
#include "kernels/cuda/group_products.cuh"
#include "kernels/cuda/stream.cuh"
#include "kernels/cuda/stream_product.h"

namespace cachalot::cuda {
namespace {

constexpr int kWarps = 8, kSlots = 3, kSlotBytes = 4352, kMostInputs = 2, kMostBlocks = 256;
constexpr std::size_t kMostParts = 16;

struct Part {
    const std::byte* weights;
    const float* x;
    float* y;
    std::int64_t x_stride, y_stride;
    std::int64_t row_bytes;
    int rows;
    int first_unit;  // of all parts
    int input;       // number of its x
    bool rounded;    // Q8_0; else BF16
    // A unit is what a warp takes at a time: `together` rows in one piece, or one row in `pieces`.
    int together, pieces;
};

struct Parts {
    Part part[kMostParts];
    int count, columns;
    int inputs;  // most of a block's run
    bool any_rounded, any_float;
    int first_unit[kMostBlocks + 1];  // of each block
};

// Where a warp is in its units.
struct Cursor {
    int unit, piece = 0, part = 0;

    __device__ explicit Cursor(const Parts& all, int first) : unit(first) { find(all); }
    __device__ void find(const Parts& all) {
        while (part + 1 < all.count && unit >= all.part[part + 1].first_unit) ++part;
    }
    __device__ void next(const Parts& all) {
        if (++piece < all.part[part].pieces) return;
        piece = 0;
        unit += kWarps;
        find(all);
    }
};

// What a block needs of shared memory, in this order.
struct Layout {
    int ring, rounded, floats;  // bytes

    __host__ __device__ Layout(const Parts& all, int rows)
        : ring(kWarps * kSlots * kSlotBytes),
          rounded(all.any_rounded ? all.inputs * rows * rounded_row_bytes(all.columns) : 0),
          floats(all.any_float ? all.inputs * rows * all.columns * 4 : 0) {}
    __host__ __device__ int bytes() const { return ring + rounded + floats; }
};

// Pieces of 8 columns of BF16, times float32.
__device__ float times_bf16(const uint4& w, const float4& low, const float4& high) {
    const auto even = [](std::uint32_t pair) { return __uint_as_float(pair << 16); };
    const auto odd = [](std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); };
    return even(w.x) * low.x + odd(w.x) * low.y + even(w.y) * low.z + odd(w.y) * low.w + even(w.z) * high.x +
           odd(w.z) * high.y + even(w.w) * high.z + odd(w.w) * high.w;
}

// The inputs of a block's run, in shared memory: kRows rows of each.
template <int kRows>
struct Inputs {
    std::byte* rounded;
    float* floats;
    int base, columns;  // number of the first input

    __device__ RoundedRow rounded_row_of(int input, int r) const {
        return rounded_row(rounded_at(input, r), columns);
    }
    __device__ const float4* floats_of(int input, int r) const {
        return reinterpret_cast<const float4*>(floats + ((input - base) * kRows + r) * columns);
    }
    __device__ std::byte* rounded_at(int input, int r) const {
        return rounded + ((input - base) * kRows + r) * rounded_row_bytes(columns);
    }
    // Of all threads of the block.
    __device__ void fill(const Parts& all) {
        const int thread = static_cast<int>(threadIdx.x), threads = kWarps * kWarp;
        for (int i = 0; i < all.count; ++i) {
            const Part& p = all.part[i];
            const bool new_input = i == 0 || all.part[i - 1].input != p.input;
            if (!new_input || p.input < base || p.input >= base + all.inputs) continue;
            for (int r = 0; r < kRows; ++r) {
                const float* x = p.x + r * p.x_stride;
                if (all.any_rounded)
                    round_row<ColumnOrder::plain>(x, columns, rounded_at(p.input, r), thread, threads);
                // Pieces of 8: the first halves, then the second ones, so that lanes read neighbouring
                // pieces.
                auto* to = reinterpret_cast<float4*>(floats + ((p.input - base) * kRows + r) * columns);
                for (int k = thread; all.any_float && k < columns / 4; k += threads)
                    to[k % 2 * (columns / 8) + k / 2] = reinterpret_cast<const float4*>(x)[k];
            }
        }
    }
};

// Adds the lane's share of columns [first, first + columns) of a row of weights, which begin at `w`.
template <int kRows>
__device__ void add_products(const Part& p, const std::byte* w, int first, int columns,
                             const Inputs<kRows>& x, float (&sum)[kRows]) {
    if (p.rounded) {
#pragma unroll 2
        for (int g = lane(); g < columns / 32; g += kWarp) {
            const Group<DType::q8_0> group(w, g);
            const int at = first / 32 + g;
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const RoundedRow row = x.rounded_row_of(p.input, r);
                sum[r] += group.times(row.first(at), row.second(at)) * row.scales[at];
            }
        }
    } else {
#pragma unroll 2
        for (int c = lane(); c < columns / 8; c += kWarp) {
            const uint4 eight = reinterpret_cast<const uint4*>(w)[c];
            const int at = first / 8 + c;
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const float4* row = x.floats_of(p.input, r);
                sum[r] += times_bf16(eight, row[at], row[x.columns / 8 + at]);
            }
        }
    }
}

template <int kRows>
__global__ void __launch_bounds__(kWarps* kWarp, 2)
    project_streamed_kernel(const __grid_constant__ Parts all) {
    extern __shared__ __align__(128) std::byte memory[];
    __shared__ __align__(8) std::uint64_t barriers[kWarps * kSlots];
    const Layout layout(all, kRows);
    const int first = all.first_unit[blockIdx.x], last = all.first_unit[blockIdx.x + 1];
    const auto row_of = [](const Part& p, int unit) {
        return std::int64_t(unit - p.first_unit) * p.together;
    };
    const auto rows_of = [](const Part& p, std::int64_t row) {
        return min(std::int64_t(p.together), p.rows - row);
    };

    Ring<kSlots> ring(memory + warp() * kSlots * kSlotBytes, barriers + warp() * kSlots, kSlotBytes);
    Cursor asks(all, first + warp()), takes = asks;
    const auto ask = [&] {
        while (!ring.full() && asks.unit < last) {
            const Part& p = all.part[asks.part];
            const std::int64_t row = row_of(p, asks.unit);
            const std::int64_t bytes = p.pieces > 1 ? p.row_bytes / p.pieces : p.row_bytes * rows_of(p, row);
            if (lane() == 0) {
                ring.expect(static_cast<unsigned>(bytes));
                ring.copy(0, p.weights + row * p.row_bytes + asks.piece * bytes,
                          static_cast<unsigned>(bytes));
            }
            ring.asked();
            asks.next(all);
        }
    };
    ask();
    wait_for_inputs();
    let_next_begin();
    Inputs<kRows> x{memory + layout.ring, reinterpret_cast<float*>(memory + layout.ring + layout.rounded),
                    first < last ? all.part[Cursor(all, first).part].input : 0, all.columns};
    x.fill(all);
    __syncthreads();

    float sum[kRows] = {};
    for (; takes.unit < last; takes.next(all)) {
        const Part& p = all.part[takes.part];
        const std::byte* slot = ring.take();
        const std::int64_t row = row_of(p, takes.unit);
        const int rows = static_cast<int>(rows_of(p, row)), columns = all.columns / p.pieces;
        for (int i = 0; i < rows; ++i) {
            add_products(p, slot + i * p.row_bytes, takes.piece * columns, columns, x, sum);
            if (takes.piece + 1 < p.pieces) continue;  // the row goes on in the next slot
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const float total = warp_sum(sum[r]);
                if (lane() == 0) p.y[r * p.y_stride + row + i] = total;
                sum[r] = 0;
            }
        }
        ring.give_back();
        ask();
    }
}

bool fits(const Projection& p, std::int64_t columns) {
    const Matrix& w = *p.weight;
    const bool type = w.dtype == DType::q8_0 ? !p.float_inputs : w.dtype == DType::bf16;
    return type && w.columns == columns && columns % 256 == 0 && columns <= 16384 &&
           w.stride == row_bytes(w.dtype, columns) && w.stride % 16 == 0 &&
           reinterpret_cast<std::uintptr_t>(w.data) % 16 == 0 && p.x_stride % 4 == 0;
}

// How a row of so many bytes goes through slots.
int pieces_of(std::int64_t bytes, std::int64_t columns, DType type) {
    int pieces = 1;
    const auto whole = [&] {
        return bytes / pieces <= kSlotBytes && bytes % pieces == 0 && bytes / pieces % 16 == 0 &&
               columns % (pieces * std::int64_t(type == DType::q8_0 ? 32 : 8)) == 0;
    };
    while (pieces < 64 && !whole()) ++pieces;
    return pieces;
}

// Different inputs of a block's run.
int most_inputs(const Parts& all, int blocks) {
    int most = 0;
    for (int b = 0; b < blocks; ++b) {
        if (all.first_unit[b] == all.first_unit[b + 1]) continue;
        const auto input_of = [&](int unit) {
            int i = 0;
            while (i + 1 < all.count && unit >= all.part[i + 1].first_unit) ++i;
            return all.part[i].input;
        };
        most = std::max(most, input_of(all.first_unit[b + 1] - 1) - input_of(all.first_unit[b]) + 1);
    }
    return most;
}

Parts parts_of(std::span<const Projection> projections, int blocks) {
    Parts all{};
    all.count = static_cast<int>(projections.size());
    all.columns = static_cast<int>(projections[0].weight->columns);
    int units = 0, inputs = 0;
    std::int64_t total = 0;
    for (int i = 0; i < all.count; ++i) {
        const Projection& p = projections[static_cast<std::size_t>(i)];
        const Matrix& w = *p.weight;
        if (i > 0 && p.x != projections[static_cast<std::size_t>(i - 1)].x) ++inputs;
        Part& part = all.part[i];
        const int pieces = pieces_of(w.stride, w.columns, w.dtype);
        const int together =
            pieces > 1 ? 1 : static_cast<int>(std::max<std::int64_t>(1, kSlotBytes / w.stride));
        part = {w.data,
                p.x,
                p.y,
                p.x_stride,
                p.y_stride,
                w.stride,
                static_cast<int>(w.rows),
                units,
                inputs,
                w.dtype == DType::q8_0,
                together,
                pieces};
        (part.rounded ? all.any_rounded : all.any_float) = true;
        units += (part.rows + together - 1) / together;
        total += w.rows * w.stride;
    }
    // Block b begins where b / blocks of all bytes lie before.
    int block = 0, unit = 0;
    std::int64_t before = 0;
    for (int i = 0; i < all.count; ++i)
        for (int row = 0; row < all.part[i].rows; row += all.part[i].together, ++unit) {
            while (block <= blocks && before * blocks >= total * block) all.first_unit[block++] = unit;
            before += all.part[i].row_bytes * std::min(all.part[i].together, all.part[i].rows - row);
        }
    while (block <= blocks) all.first_unit[block++] = units;
    all.inputs = most_inputs(all, blocks);
    return all;
}

int blocks_of(const CudaCard& card) { return std::min(card.multiprocessors, kMostBlocks); }

template <int kRows>
void launch(const Parts& all, int blocks, CudaStreamHandle stream) {
    const int bytes = Layout(all, kRows).bytes();
    check_cuda(cudaFuncSetAttribute(project_streamed_kernel<kRows>,
                                    cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
               "cudaFuncSetAttribute");
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(kWarps * kWarp);
    config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = 1;
    check_cuda(cudaLaunchKernelEx(&config, project_streamed_kernel<kRows>, all), "project_streamed_kernel");
}

}  // namespace

bool can_stream(std::span<const Projection> projections, int rows, const CudaCard& card) {
    if (card.compute < 90 || rows < 1 || rows > kMostStreamedTogether || projections.empty() ||
        projections.size() > kMostParts)
        return false;
    const std::int64_t columns = projections[0].weight->columns;
    if (!std::ranges::all_of(projections, [&](const Projection& p) { return fits(p, columns); }))
        return false;
    const Parts all = parts_of(projections, blocks_of(card));
    constexpr int kMostShared = 220 << 10;
    return all.inputs <= kMostInputs && Layout(all, rows).bytes() <= kMostShared;
}

void project_streamed(std::span<const Projection> projections, int rows, const CudaCard& card,
                      CudaStreamHandle stream) {
    const int blocks = blocks_of(card);
    const Parts all = parts_of(projections, blocks);
    if (rows == 1)
        launch<1>(all, blocks, stream);
    else if (rows == 2)
        launch<2>(all, blocks, stream);
    else if (rows == 3)
        launch<3>(all, blocks, stream);
    else
        launch<4>(all, blocks, stream);
}

}  // namespace cachalot::cuda
