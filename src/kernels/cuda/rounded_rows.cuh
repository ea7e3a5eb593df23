// Activations as int8 in shared memory: groups of 32 share a scale, as with Precision::fast on the host, so
// that a group's product with integer weights is a sum of integers.
//
// Inside a group the columns may have the order of codes: of a word of 4-bit codes the low 16 bits are
// columns 0, 16, 1, 17 and the high ones 2, 18, 3, 19, in the blocks of GGUF.
//
// Of a row of K numbers: K / 32 pieces of 16 bytes, the first half of each group; then the second halves; so
// lanes that take neighbouring groups read neighbouring pieces. Scales are apart.
#pragma once

#include <cstdint>

#include "kernels/cuda/block.cuh"

namespace cachalot::cuda {

enum class ColumnOrder { plain, nibbles };

// The byte, of the 32 of a group, that column i is in.
__device__ constexpr int place_of_column(ColumnOrder order, int i) {
    return order == ColumnOrder::plain ? i : i % 16 / 2 * 4 + i % 2 * 2 + i / 16;
}

struct RoundedRow {
    const int4* halves;   // [2][K / 32]
    const float* scales;  // [K / 32]
    int groups;

    __device__ int4 first(int group) const { return halves[group]; }
    __device__ int4 second(int group) const { return halves[groups + group]; }
};

constexpr int rounded_row_bytes(int columns) { return columns + columns / 32 * 4; }

__device__ inline RoundedRow rounded_row(std::byte* memory, int columns) {
    return {reinterpret_cast<const int4*>(memory), reinterpret_cast<const float*>(memory + columns),
            columns / 32};
}

// Rounds x [columns] to `memory`; of `threads` threads, whole warps of which this is number `thread`. Columns
// are a multiple of 128. The block is to be synchronised afterwards.
template <ColumnOrder kOrder>
__device__ void round_row(const float* x, int columns, std::byte* memory, int thread, int threads) {
    const int groups = columns / 32;
    auto* scales = reinterpret_cast<float*>(memory + columns);
    for (int i = thread; i < columns / 4; i += threads) {  // eight lanes have a group
        const float4 v = reinterpret_cast<const float4*>(x)[i];
        float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
        for (int distance = 1; distance < 8; distance *= 2)
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
        const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
        const int group = i / 8, word = i % 8;
        if (word == 0) scales[group] = scale;
        if constexpr (kOrder == ColumnOrder::plain) {
            const auto byte = [&](float f) { return __float2int_rn(f * inverse) & 255; };
            reinterpret_cast<int*>(memory)[(word / 4 * groups + group) * 4 + word % 4] =
                byte(v.x) | byte(v.y) << 8 | byte(v.z) << 16 | byte(v.w) << 24;
        } else {
            const auto put = [&](int k, float f) {
                const int place = place_of_column(kOrder, 4 * word + k);
                memory[(place / 16 * groups + group) * 16 + place % 16] =
                    static_cast<std::byte>(__float2int_rn(f * inverse));
            };
            put(0, v.x);
            put(1, v.y);
            put(2, v.z);
            put(3, v.w);
        }
    }
}

}  // namespace cachalot::cuda
