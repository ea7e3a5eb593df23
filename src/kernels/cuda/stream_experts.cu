// The experts of one to four rows, as fast as memory gives their weights.
//
//   x [rows, H] ─ gate, up [I, H] ─► inner [rows, top_k + 1, I] ─ down [H, I] ─► y [rows, H]
//
// Two kernels, of one block for each multiprocessor and 8 warps, which stream weights (stream.cuh). Block b
// has rows I b / blocks .. I (b + 1) / blocks of gate and up of every expert, and the same share of the rows
// of down: so all blocks have the same work, whichever experts were chosen. Slot s of a row is its choice s;
// the last slot is the shared expert, whose weights are known before the choice is, so it comes first.
//
//   inner:   a unit is a row of gate and the same row of up, of one slot of one row of x, through the ring
//            one after the other, or together where they are short
//   output:  a unit is kTogether rows of y; through the ring go these rows of down of one slot after the
//            other, whose products are added in the lanes
//
// Lane i computes groups of 32 columns i, i + 32, ...; then the lanes are summed. Experts that several rows
// chose are read for each of them; the second time from the cache.
#include <algorithm>

#include "device/cuda_error.h"
#include "kernels/cuda/group_products.cuh"
#include "kernels/cuda/stream.cuh"
#include "kernels/cuda/stream_experts.h"

namespace cachalot::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp, kSlots = 3, kSlotBytes = 4352;
constexpr int kRingBytes = kWarps * kSlots * kSlotBytes, kGridBytes = 256 * 8;
constexpr int kTogether = 4;
constexpr std::int64_t kMostShared = 220 << 10;

struct Call {
    ExpertsCall c;
    int hidden, inner;                     // H, I
    int routed_bytes[2], shared_bytes[2];  // of a row of gate and up, of a row of down
};

// IQ2_XXS's patterns, digits of two bits to bytes.
__device__ void fill_grid(const Grids& grids, uint2* grid) {
    const auto bytes = [](unsigned digits) {  // of the lowest four
        std::uint32_t four = 0;
        for (int i = 0; i < 4; ++i) {
            const unsigned digit = digits >> (2 * i) & 3;
            four |= (digit == 0 ? 8u : digit == 1 ? 25u : 43u) << (8 * i);
        }
        return four;
    };
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kThreads)
        grid[i] = {bytes(grids.iq2_xxs[i]), bytes(grids.iq2_xxs[i] >> 8)};
}

// The product of a row of weights with a row of x; the lane's share.
template <DType kType>
__device__ float partial(const std::byte* w, const RoundedRow& x, const uint2* grid) {
    float sum = 0;
#pragma unroll 2
    for (int g = lane(); g < x.groups; g += kWarp)
        sum += Group<kType>(w, g, grid).times(x.first(g), x.second(g)) * x.scales[g];
    return sum;
}

// Unit `u` of a block: slot first, then row of x, then row of gate and up.
struct InnerUnit {
    int row, slot, i;
    __device__ InnerUnit(int u, int rows, int top_k, int first, int count) {
        i = first + u % count;
        row = u / count % rows;
        const int order = u / count / rows;  // the shared expert, then the others
        slot = order == 0 ? top_k : order - 1;
    }
};

template <DType kType>
__global__ void __launch_bounds__(kThreads, 2) inner_streamed_kernel(const __grid_constant__ Call call) {
    extern __shared__ __align__(128) std::byte memory[];
    __shared__ __align__(8) std::uint64_t barriers[kWarps * kSlots];
    const ExpertsCall& c = call.c;
    const int H = call.hidden, row_bytes = rounded_row_bytes(H);
    auto* const grid = reinterpret_cast<uint2*>(memory + kRingBytes);
    std::byte* const plain = memory + kRingBytes + kGridBytes;  // [rows] x in the order of Q8_0
    std::byte* const ordered =
        Group<kType>::kOrder == ColumnOrder::plain ? plain : plain + c.rows * row_bytes;
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
    const int first = call.inner * block / blocks, count = call.inner * (block + 1) / blocks - first;
    const int units = count * c.rows * (c.top_k + 1), units_of_shared = count * c.rows;

    Ring<kSlots> ring(memory + warp() * kSlots * kSlotBytes, barriers + warp() * kSlots, kSlotBytes);
    int asks = warp(), ask_part = 0;
    const auto ask = [&](int last) {
        while (!ring.full() && asks < last) {
            const InnerUnit u(asks, c.rows, c.top_k, first, count);
            const bool shared = u.slot == c.top_k;
            const int bytes = shared ? call.shared_bytes[0] : call.routed_bytes[0];
            const bool both = 2 * bytes <= kSlotBytes;
            if (lane() == 0) {
                const ExpertWeights& e = shared ? c.shared : c.routed[c.ids[u.row * c.top_k + u.slot]];
                const std::int64_t at = std::int64_t(u.i) * bytes;
                ring.expect(static_cast<unsigned>(both ? 2 * bytes : bytes));
                if (both || ask_part == 0) ring.copy(0, e.gate.data + at, static_cast<unsigned>(bytes));
                if (both || ask_part == 1)
                    ring.copy(both ? bytes : 0, e.up.data + at, static_cast<unsigned>(bytes));
            }
            ring.asked();
            if (both || ask_part == 1) {
                ask_part = 0;
                asks += kWarps;
            } else {
                ask_part = 1;
            }
        }
    };
    ask(units_of_shared);
    if constexpr (kType == DType::iq2_xxs) fill_grid(c.grids, grid);
    wait_for_inputs();
    let_next_begin();
    ask(units);
    for (int r = 0; r < c.rows; ++r) {
        const float* x = c.x + std::int64_t(r) * H;
        const int thread = static_cast<int>(threadIdx.x);
        round_row<ColumnOrder::plain>(x, H, plain + r * row_bytes, thread, kThreads);
        if constexpr (Group<kType>::kOrder != ColumnOrder::plain)
            round_row<Group<kType>::kOrder>(x, H, ordered + r * row_bytes, thread, kThreads);
    }
    __syncthreads();
    for (int at = warp(); at < units; at += kWarps) {
        const InnerUnit u(at, c.rows, c.top_k, first, count);
        const bool shared = u.slot == c.top_k;
        const int bytes = shared ? call.shared_bytes[0] : call.routed_bytes[0];
        const RoundedRow x = rounded_row((shared ? plain : ordered) + u.row * row_bytes, H);
        const auto product = [&](const std::byte* w) {
            return warp_sum(shared ? partial<DType::q8_0>(w, x, grid) : partial<kType>(w, x, grid));
        };
        const std::byte* slot = ring.take();
        float gate = product(slot);
        if (2 * bytes > kSlotBytes) {
            ring.give_back();
            ask(units);
            slot = ring.take();
        } else {
            slot += bytes;
        }
        const float limit = shared ? c.shared_limit : c.limit;
        const float up = fminf(fmaxf(product(slot), -limit), limit);
        gate = fminf(gate, limit);
        ring.give_back();
        ask(units);
        const float weight = shared ? 1.0f : c.weights[u.row * c.top_k + u.slot];
        if (lane() == 0)
            c.inner[(std::int64_t(u.row) * (c.top_k + 1) + u.slot) * call.inner + u.i] =
                weight * (gate / (1.0f + expf(-gate))) * up;
    }
}

// A unit's rows of down, of one slot, in pieces of so many rows.
__device__ int rows_of_piece(int bytes) { return min(kTogether, kSlotBytes / bytes); }

template <DType kType>
__global__ void __launch_bounds__(kThreads, 2) output_streamed_kernel(const __grid_constant__ Call call) {
    extern __shared__ __align__(128) std::byte memory[];
    __shared__ __align__(8) std::uint64_t barriers[kWarps * kSlots];
    const ExpertsCall& c = call.c;
    const int I = call.inner, row_bytes = rounded_row_bytes(I), slots = c.top_k + 1;
    auto* const grid = reinterpret_cast<uint2*>(memory + kRingBytes);
    std::byte* const inputs = memory + kRingBytes + kGridBytes;  // [rows, slots]
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
    const int groups = (call.hidden + kTogether - 1) / kTogether;
    const int first = groups * block / blocks, count = groups * (block + 1) / blocks - first;
    const int units = count * c.rows;
    const auto bytes_of = [&](int slot) {
        return slot == c.top_k ? call.shared_bytes[1] : call.routed_bytes[1];
    };
    // Slots in the order in which they go through the ring.
    const auto slot_of = [&](int order) { return order == 0 ? c.top_k : order - 1; };

    Ring<kSlots> ring(memory + warp() * kSlots * kSlotBytes, barriers + warp() * kSlots, kSlotBytes);
    int asks = warp(), ask_order = 0, ask_row = 0;
    const auto ask = [&](int orders) {
        while (!ring.full() && asks < units && ask_order < orders) {
            const int row = asks / count, h = (first + asks % count) * kTogether, slot = slot_of(ask_order);
            const int bytes = bytes_of(slot), together = min(kTogether, call.hidden - h);
            const int piece = min(rows_of_piece(bytes), together - ask_row);
            if (lane() == 0) {
                const ExpertWeights& e = slot == c.top_k ? c.shared : c.routed[c.ids[row * c.top_k + slot]];
                ring.expect(static_cast<unsigned>(piece * bytes));
                ring.copy(0, e.down.data + std::int64_t(h + ask_row) * bytes,
                          static_cast<unsigned>(piece * bytes));
            }
            ring.asked();
            ask_row += piece;
            if (ask_row < together) continue;
            ask_row = 0;
            if (++ask_order < slots) continue;
            ask_order = 0;
            asks += kWarps;
        }
    };
    ask(1);
    wait_for_inputs();
    let_next_begin();
    ask(slots);
    for (int i = 0; i < c.rows * slots; ++i) {
        const float* x = c.inner + std::int64_t(i) * I;
        const int thread = static_cast<int>(threadIdx.x);
        if (i % slots == c.top_k)
            round_row<ColumnOrder::plain>(x, I, inputs + i * row_bytes, thread, kThreads);
        else
            round_row<Group<kType>::kOrder>(x, I, inputs + i * row_bytes, thread, kThreads);
    }
    __syncthreads();
    for (int at = warp(); at < units; at += kWarps) {
        const int row = at / count, h = (first + at % count) * kTogether;
        const int together = min(kTogether, call.hidden - h);
        float sum[kTogether] = {};
        for (int order = 0; order < slots; ++order) {
            const int slot = slot_of(order), bytes = bytes_of(slot), piece = rows_of_piece(bytes);
            const RoundedRow x = rounded_row(inputs + (row * slots + slot) * row_bytes, I);
            const std::byte* w = nullptr;
#pragma unroll
            for (int i = 0; i < kTogether; ++i) {
                if (i >= together) break;
                if (i % piece == 0) w = ring.take();
                sum[i] += slot == c.top_k ? partial<DType::q8_0>(w, x, grid) : partial<kType>(w, x, grid);
                w += bytes;
                if (i % piece == piece - 1 || i == together - 1) {
                    ring.give_back();
                    ask(slots);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
            const float total = warp_sum(sum[i]);
            if (lane() == 0 && i < together) c.y[std::int64_t(row) * call.hidden + h + i] = total;
        }
    }
}

using Kernel = void (*)(Call);

Kernel inner_kernel(DType type) {
    switch (type) {
        case DType::mxfp4: return inner_streamed_kernel<DType::mxfp4>;
        case DType::iq2_xxs: return inner_streamed_kernel<DType::iq2_xxs>;
        case DType::q8_0: return inner_streamed_kernel<DType::q8_0>;
        default: return nullptr;
    }
}
Kernel output_kernel(DType type) {
    switch (type) {
        case DType::mxfp4: return output_streamed_kernel<DType::mxfp4>;
        case DType::q2_k: return output_streamed_kernel<DType::q2_k>;
        case DType::q8_0: return output_streamed_kernel<DType::q8_0>;
        default: return nullptr;
    }
}

std::int64_t inner_shared_bytes(std::int64_t hidden, int rows) {
    return kRingBytes + kGridBytes + 2 * rows * rounded_row_bytes(static_cast<int>(hidden));
}
std::int64_t output_shared_bytes(std::int64_t inner, int rows, int top_k) {
    return kRingBytes + kGridBytes +
           std::int64_t(rows) * (top_k + 1) * rounded_row_bytes(static_cast<int>(inner));
}

bool fetchable(const Matrix& m) {
    return m.stride == row_bytes(m.dtype, m.columns) && m.stride % 16 == 0 && m.stride <= kSlotBytes &&
           m.columns % 256 == 0 && reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0;
}

void launch(Kernel kernel, const Call& call, std::int64_t shared, const CudaCard& card,
            CudaStreamHandle stream) {
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "cudaFuncSetAttribute");
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(card.multiprocessors));
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = static_cast<std::size_t>(shared);
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = 1;
    check_cuda(cudaLaunchKernelEx(&config, kernel, call), "experts_streamed");
}

}  // namespace

bool can_stream_experts(const ExpertWeights& layout, const ExpertWeights& shared, int rows, int top_k,
                        const CudaCard& card) {
    for (const ExpertWeights* e : {&layout, &shared})
        for (const Matrix* m : {&e->gate, &e->up, &e->down})
            if (!fetchable(*m)) return false;
    for (const Matrix* m : {&shared.gate, &shared.up, &shared.down})
        if (m->dtype != DType::q8_0) return false;
    return card.compute >= 90 && rows >= 1 && rows <= 4 && layout.gate.dtype == layout.up.dtype &&
           layout.gate.rows == shared.gate.rows && inner_kernel(layout.gate.dtype) &&
           output_kernel(layout.down.dtype) && inner_shared_bytes(layout.gate.columns, rows) <= kMostShared &&
           output_shared_bytes(layout.down.columns, rows, top_k) <= kMostShared;
}

void experts_streamed(const ExpertsCall& c, const ExpertWeights& layout, const CudaCard& card,
                      CudaStreamHandle stream) {
    const auto bytes = [](const Matrix& m) { return static_cast<int>(m.stride); };
    const Call call{c,
                    static_cast<int>(layout.gate.columns),
                    static_cast<int>(layout.gate.rows),
                    {bytes(layout.gate), bytes(layout.down)},
                    {bytes(c.shared.gate), bytes(c.shared.down)}};
    launch(inner_kernel(layout.gate.dtype), call, inner_shared_bytes(layout.gate.columns, c.rows), card,
           stream);
    launch(output_kernel(layout.down.dtype), call, output_shared_bytes(layout.down.columns, c.rows, c.top_k),
           card, stream);
}

}  // namespace cachalot::cuda
