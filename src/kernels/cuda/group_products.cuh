// The product of 32 weights of a row, as they lie in the file, with 32 rounded activations. Weights are in
// shared memory, which is read by words of 4 bytes: blocks of GGUF begin at any byte, so neighbouring words
// are shifted together.
#pragma once

#include <cuda_fp16.h>

#include "kernels/cuda/rounded_rows.cuh"
#include "tensor/dtype.h"
#include "tensor/float_formats.h"

namespace cachalot::cuda {

// Words of 4 bytes from any address in shared memory on.
struct Words {
    const std::uint32_t* aligned;
    unsigned selector;  // of __byte_perm

    __device__ explicit Words(const std::byte* from) {
        const auto beyond = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(from) & 3);
        aligned = reinterpret_cast<const std::uint32_t*>(from - beyond);
        selector = 0x3210u + 0x1111u * beyond;
    }
    // kCount of them.
    template <int kCount>
    __device__ void load(std::uint32_t (&words)[kCount]) const {
        std::uint32_t low = aligned[0];
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            // The last word is read only if something of it is wanted: it may be another's.
            const std::uint32_t high = i + 1 < kCount || selector != 0x3210u ? aligned[i + 1] : 0;
            words[i] = __byte_perm(low, high, selector);
            low = high;
        }
    }
};

__device__ inline float half_at(const std::byte* p) {  // at an even address
    return __half2float(__ushort_as_half(*reinterpret_cast<const unsigned short*>(p)));
}

// The sum of the products of 32 signed bytes.
__device__ inline int dot32(const std::uint32_t (&q)[8], const int4& first, const int4& second) {
    const int x[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
    int sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = __dp4a(static_cast<int>(q[i]), x[i], sum);
    return sum;
}

// Group `g` of a row; Group(row, g).times(x) is its product with a group of x, whose scale is still to be
// multiplied. kOrder: of the columns of x. `grid`: IQ2_XXS's patterns, eight bytes each.
template <DType kType>
struct Group;

template <>
struct Group<DType::q8_0> {
    static constexpr ColumnOrder kOrder = ColumnOrder::plain;
    std::uint32_t q[8];
    float scale;

    __device__ Group(const std::byte* row, int g, const uint2* /*grid*/ = nullptr) {
        const std::byte* block = row + g * 34;
        scale = half_at(block);
        Words(block + 2).load(q);
    }
    __device__ float times(const int4& first, const int4& second) const {
        return static_cast<float>(dot32(q, first, second)) * scale;
    }
};

// Magnitudes are twice the value: 0, 1, 2, 3, 4, 6, 8, 12. Activations are in the order of the nibbles
// (ColumnOrder::nibbles).
//
// A byte permutation looks four magnitudes up at once. Another one, of which bit 3 of a code asks for the
// sign of the byte that is looked up, gives -1 for negative codes and -128 for others; as an integer,
// (magnitude ^ that) is (the signed magnitude + that), so a second sum takes it off again.
template <>
struct Group<DType::mxfp4> {
    static constexpr ColumnOrder kOrder = ColumnOrder::nibbles;
    std::uint32_t codes[4];
    float scale;

    __device__ Group(const std::byte* row, int g, const uint2* /*grid*/ = nullptr) {
        const std::byte* block = row + g * 17;
        scale = 0.5f * e8m0_to_f32(static_cast<std::uint8_t>(*block));
        Words(block + 1).load(codes);
    }
    __device__ float times(const int4& first, const int4& second) const {
        int sum = 0, off = 0;
        const int x[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t four = i % 2 ? codes[i / 2] >> 16 : codes[i / 2];
            const std::uint32_t magnitudes = __byte_perm(0x03020100u, 0x0c080604u, four & 0x7777u);
            std::uint32_t signs;  // __byte_perm() would clear bit 3
            asm("prmt.b32 %0, %1, %1, %2;" : "=r"(signs) : "r"(0x80808080u), "r"(four));
            sum = __dp4a(static_cast<int>(magnitudes ^ signs), x[i], sum);
            off = __dp4a(static_cast<int>(signs), x[i], off);
        }
        return static_cast<float>(sum - off) * scale;
    }
};

// Values are unsigned: two groups of 16 with a scale and a minimum each.
template <>
struct Group<DType::q2_k> {
    static constexpr ColumnOrder kOrder = ColumnOrder::plain;
    std::uint32_t q[8];
    float scale[2], minimum[2];

    __device__ Group(const std::byte* row, int g, const uint2* /*grid*/ = nullptr) {
        const std::byte* block = row + g / 8 * 84;  // all of whose parts are at multiples of 4
        const int j = g % 8;
        const auto* codes = reinterpret_cast<const std::uint32_t*>(block + 16 + j / 4 * 32);
#pragma unroll
        for (int i = 0; i < 8; ++i) q[i] = codes[i] >> (j % 4 * 2) & 0x03030303u;
        const float d = half_at(block + 80), dmin = half_at(block + 82);
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            const auto packed = static_cast<unsigned>(block[2 * j + part]);
            scale[part] = d * static_cast<float>(packed & 15);
            minimum[part] = dmin * static_cast<float>(packed >> 4);
        }
    }
    __device__ float times(const int4& first, const int4& second) const {
        const int x[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
        float sum = 0;
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            int product = 0, ones = 0;
#pragma unroll
            for (int i = 4 * part; i < 4 * part + 4; ++i) {
                product = __dp4a(static_cast<int>(q[i]), x[i], product);
                ones = __dp4a(0x01010101, x[i], ones);
            }
            sum += scale[part] * static_cast<float>(product) - minimum[part] * static_cast<float>(ones);
        }
        return sum;
    }
};

template <>
struct Group<DType::iq2_xxs> {
    static constexpr ColumnOrder kOrder = ColumnOrder::plain;
    std::uint32_t q[8];
    float scale;

    __device__ Group(const std::byte* row, int g, const uint2* grid) {
        const std::byte* block = row + g / 8 * 66;
        std::uint32_t words[2];
        Words(block + 2 + g % 8 * 8).load(words);
        scale = half_at(block) * (0.5f + static_cast<float>(words[1] >> 28)) * 0.25f;
#pragma unroll
        for (int p = 0; p < 4; ++p) {
            const uint2 magnitudes = grid[words[0] >> (8 * p) & 255];
            unsigned signs = words[1] >> (7 * p) & 127;
            signs |= (static_cast<unsigned>(__popc(signs)) & 1) << 7;  // an even number is negative
            // Four bits to the highest bits of four bytes, whose signs then fill their bytes.
            const auto negative = [](unsigned bits) {
                std::uint32_t bytes;
                asm("prmt.b32 %0, %1, %1, 0xba98;"
                    : "=r"(bytes)
                    : "r"(bits * 0x00204081u << 7 & 0x80808080u));
                return bytes;
            };
            const std::uint32_t low = negative(signs & 15), high = negative(signs >> 4);
            q[2 * p] = __vsub4(magnitudes.x ^ low, low);
            q[2 * p + 1] = __vsub4(magnitudes.y ^ high, high);
        }
    }
    __device__ float times(const int4& first, const int4& second) const {
        return static_cast<float>(dot32(q, first, second)) * scale;
    }
};

}  // namespace cachalot::cuda
