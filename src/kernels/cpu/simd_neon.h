// NEON of every 64-bit Arm processor; dot products (DotProd) and products of small matrices (I8MM) of int8,
// and of bfloat16, where the file is compiled for them: four floats.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/table.h"

namespace {

using cachalot::cpu::Codes;
using cachalot::cpu::Int8Group;

struct F {
    static constexpr int kWidth = 4;
    static constexpr int kRegisters = 32;
    float32x4_t v;
};
inline F load(const float* p) { return {vld1q_f32(p)}; }
inline void store(float* p, F a) { vst1q_f32(p, a.v); }
inline F broadcast(float x) { return {vdupq_n_f32(x)}; }
inline F operator+(F a, F b) { return {vaddq_f32(a.v, b.v)}; }
inline F operator-(F a, F b) { return {vsubq_f32(a.v, b.v)}; }
inline F operator*(F a, F b) { return {vmulq_f32(a.v, b.v)}; }
inline F operator/(F a, F b) { return {vdivq_f32(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline F minimum(F a, F b) { return {vminnmq_f32(a.v, b.v)}; }  // of a number and a NaN: the number
inline F maximum(F a, F b) { return {vmaxnmq_f32(a.v, b.v)}; }
inline F absolute(F a) { return {vabsq_f32(a.v)}; }
inline F round_even(F a) { return {vrndnq_f32(a.v)}; }
inline F times_pow2(F a, F n) {
    int32x4_t e = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127)), 23);
    return {vmulq_f32(a.v, vreinterpretq_f32_s32(e))};
}
inline float reduce_add(F a) { return vaddvq_f32(a.v); }
inline F reduce_add_each(const F* a) {  // lane i: reduce_add(a[i])
    return {vpaddq_f32(vpaddq_f32(a[0].v, a[1].v), vpaddq_f32(a[2].v, a[3].v))};
}
inline float reduce_max(F a) { return vmaxnmvq_f32(a.v); }

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
// Bfloat16: two products for each float32 of the sum.
#define CACHALOT_SIMD_HAS_BF16
struct B {
    static constexpr int kWidth = 8;
    uint16x8_t v;
};
inline B load(const std::uint16_t* p) { return {vld1q_u16(p)}; }
inline void store(std::uint16_t* p, B a) { vst1q_u16(p, a.v); }
inline B round_to_bf16(F low, F high) {
    return {vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low.v), high.v))};
}
inline F fma(B a, B b, F c) {
    return {vbfdotq_f32(c.v, vreinterpretq_bf16_u16(a.v), vreinterpretq_bf16_u16(b.v))};
}
#endif

inline F f16(uint16x4_t bits) { return {vcvt_f32_f16(vreinterpret_f16_u16(bits))}; }
inline F load_f16(const std::uint16_t* p) { return f16(vld1_u16(p)); }
inline F load_bf16(const std::byte* p) {
    uint16x4_t halves = vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(p)));
    return {vreinterpretq_f32_u32(vshll_n_u16(halves, 16))};
}
// The seven bits below the sign, moved seven up, are an F16 of 2^-8 the value (subnormals included); NaN
// codes give
// 480. The moved sign comes with a copy of itself, which is removed.
inline F load_e4m3(const std::byte* p) {
    std::uint32_t four;
    __builtin_memcpy(&four, p, 4);
    int16x8_t wide = vshll_n_s8(vreinterpret_s8_u32(vdup_n_u32(four)), 7);
    uint16x4_t bits = vbic_u16(vreinterpret_u16_s16(vget_low_s16(wide)), vdup_n_u16(0x4000));
    return f16(bits) * broadcast(256);
}

struct U {
    uint8x16_t v;
};
inline uint32x4_t words(U a) { return vreinterpretq_u32_u8(a.v); }
inline U bytes(uint32x4_t a) { return {vreinterpretq_u8_u32(a)}; }
inline U bytes(uint64x2_t a) { return {vreinterpretq_u8_u64(a)}; }
inline const std::uint8_t* at_byte(const void* p) { return static_cast<const std::uint8_t*>(p); }

// Sixteen bytes of four rows, transposed.
inline void gather(const std::byte* const* rows, std::int64_t at, U (&out)[4]) {
    auto row = [&](int i) { return vreinterpretq_u32_u8(vld1q_u8(at_byte(rows[i] + at))); };
    const uint32x4_t a = row(0), b = row(1), c = row(2), d = row(3);
    const uint64x2_t ab02 = vreinterpretq_u64_u32(vtrn1q_u32(a, b)),
                     ab13 = vreinterpretq_u64_u32(vtrn2q_u32(a, b)),
                     cd02 = vreinterpretq_u64_u32(vtrn1q_u32(c, d)),
                     cd13 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    out[0] = bytes(vtrn1q_u64(ab02, cd02));
    out[1] = bytes(vtrn1q_u64(ab13, cd13));
    out[2] = bytes(vtrn2q_u64(ab02, cd02));
    out[3] = bytes(vtrn2q_u64(ab13, cd13));
}
inline U load_lanes(const std::uint8_t (*lanes)[4]) { return {vld1q_u8(lanes[0])}; }
// Bytes that lie beside each other are loaded together.
template <int kA, int kB, int kC, int kD>
U pick(const std::byte* const* rows, std::int64_t at) {
    auto row = [&](int r) {
        const std::uint8_t* p = at_byte(rows[r] + at);
        if constexpr (kB == kA + 1 && kD == kC + 1) {
            auto two = [&](int i) {
                std::uint16_t both;
                __builtin_memcpy(&both, p + i, 2);
                return both;
            };
            return vreinterpret_u32_u16(vset_lane_u16(two(kC), vdup_n_u16(two(kA)), 1));
        } else {
            uint8x8_t v = vld1_dup_u8(p + kA);
            v = vld1_lane_u8(p + kB, v, 1);
            v = vld1_lane_u8(p + kC, v, 2);
            return vreinterpret_u32_u8(vld1_lane_u8(p + kD, v, 3));
        }
    };
    return bytes(vcombine_u32(vzip1_u32(row(0), row(1)), vzip1_u32(row(2), row(3))));
}
inline U low_nibbles(U a) { return {vandq_u8(a.v, vdupq_n_u8(15))}; }
inline U high_nibbles(U a) { return {vshrq_n_u8(a.v, 4)}; }
inline U lookup(const std::uint8_t (&table)[16], U codes) { return {vqtbl1q_u8(vld1q_u8(table), codes.v)}; }
inline U flip_sign(U a) { return {veorq_u8(a.v, vdupq_n_u8(0x80))}; }
// The first four bytes and the last four of each row, where `a` has eight of rows 0 and 1 and `b` of rows 2
// and 3.
inline void split_eights(U a, U b, U (&out)[2]) {
    out[0] = bytes(vuzp1q_u32(words(a), words(b)));
    out[1] = bytes(vuzp2q_u32(words(a), words(b)));
}
inline void interleave_nibbles(U a, U (&out)[2]) {
    const uint8x16_t low = low_nibbles(a).v, high = high_nibbles(a).v;
    split_eights({vzip1q_u8(low, high)}, {vzip2q_u8(low, high)}, out);
}
// Eight bytes from where at(row) points to.
template <class At>
[[gnu::always_inline]] inline void gather_eights(At at, U (&out)[2]) {
    auto pair = [&](int r) { return U{vcombine_u8(vld1_u8(at_byte(at(r))), vld1_u8(at_byte(at(r + 1))))}; };
    split_eights(pair(0), pair(2), out);
}
inline U operator&(U a, U b) { return {vandq_u8(a.v, b.v)}; }
inline U operator|(U a, U b) { return {vorrq_u8(a.v, b.v)}; }
inline U operator^(U a, U b) { return {veorq_u8(a.v, b.v)}; }
inline U add_bytes(U a, U b) { return {vaddq_u8(a.v, b.v)}; }
inline U subtract_bytes(U a, U b) { return {vsubq_u8(a.v, b.v)}; }
inline U repeat(std::uint32_t four) { return bytes(vdupq_n_u32(four)); }
template <int kBits>
U shift_right(U a) {
    return bytes(vshrq_n_u32(words(a), kBits));
}
template <int kBits>
U shift_left(U a) {
    return bytes(vshlq_n_u32(words(a), kBits));
}
template <int kByte, int kNibble>
U bit_masks(U a) {
    // Byte kByte of each lane to all four, of which each looks at one bit.
    const U lanes = repeat(0x01010101 * kByte),
            first = bytes(uint32x4_t{0, 0x04040404, 0x08080808, 0x0c0c0c0c});
    const uint8x16_t same = vqtbl1q_u8(a.v, add_bytes(lanes, first).v);
    return {vtstq_u8(same, repeat(kNibble ? 0x80402010 : 0x08040201).v)};
}
template <int kHalf>
F from_f16(U a) {
    return f16(kHalf ? vshrn_n_u32(words(a), 16) : vmovn_u32(words(a)));
}
template <int kByte>
uint32x4_t byte_of(U a) {
    return (words(a) >> (8 * kByte)) & vdupq_n_u32(0xff);
}
template <int kByte>
F from_e8m0(U a) {  // 0 is 2^-127, a subnormal; 255, which is NaN, gives infinity
    const uint32x4_t bits = vshlq_n_u32(byte_of<kByte>(a), 23);
    return {vreinterpretq_f32_u32(vmaxq_u32(bits, vdupq_n_u32(0x400000)))};
}
template <int kByte>
F from_byte(U a) {
    return {vcvtq_f32_u32(byte_of<kByte>(a))};
}
template <int kByte>
U factor(U a) {
    return bytes(byte_of<kByte>(a));
}

// All codes are signed bytes: what is at most 127 is the same number, and full codes are taken as the file
// has them.
constexpr bool kSignedFull = true;

// -kOffset times the pair sums of two groups, each of which is to be added to the group's sum.
template <int kOffset>
int32x4_t offset_of(const Int8Group& x, const Int8Group& y) {
    if constexpr (kOffset == 0) return vdupq_n_s32(0);
    auto pair = [](const Int8Group& group) {
        std::int32_t two;
        __builtin_memcpy(&two, group.pair_sums, 4);
        return vdup_n_s32(two);
    };
    return vmull_n_s16(vreinterpret_s16_s32(vzip1_s32(pair(x), pair(y))), -kOffset);
}
inline int32x4_t multiply_add(int32x4_t total, int32x4_t s, U by) {
    return vmlaq_s32(total, s, vreinterpretq_s32_u8(by.v));
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
// The sums of two groups, one of each of two rows of activations: an instruction multiplies two rows of
// weights by two of activations, eight columns of each, which is twice what a dot product does.
template <Codes kCodes, int kOffset>
class SumsOfTwo {
  public:
    explicit SumsOfTwo(const U* codes) {
        for (int i = 0; i < 4; ++i) {
            const uint32x4_t left = words(codes[2 * i]), right = words(codes[2 * i + 1]);
            eights_[i][0] = vreinterpretq_s8_u32(vzip1q_u32(left, right));  // eight columns of rows 0 and 1
            eights_[i][1] = vreinterpretq_s8_u32(vzip2q_u32(left, right));  // of rows 2 and 3
        }
    }
    // `factors` of scaled codes, for each 16 columns.
    void values(const Int8Group& x, const Int8Group& y, const U* factors, F (&out)[2]) const {
        constexpr bool kScaled = kCodes == Codes::scaled;
        const int32x4_t pairs = offset_of<kOffset>(x, y), zero = vdupq_n_s32(0);
        int32x4_t s[2] = {vpaddq_s32(pairs, pairs),
                          vpaddq_s32(pairs, pairs)};  // | w0 x | w0 y | w1 x | w1 y |
        int32x4_t totals[2] = {zero, zero};
        for (int half = 0; half < 2; ++half) {
            auto sixteen = [&](const Int8Group& g) {
                return vreinterpretq_s64_s8(vld1q_s8(g.q + 16 * half));
            };
            const int64x2_t a = sixteen(x), b = sixteen(y);
            const int8x16_t q[2] = {vreinterpretq_s8_s64(vzip1q_s64(a, b)),
                                    vreinterpretq_s8_s64(vzip2q_s64(a, b))};
            for (int i = 0; i < 2; ++i)
                for (int r = 0; r < 2; ++r) s[r] = vmmlaq_s32(s[r], eights_[2 * half + i][r], q[i]);
            if constexpr (kScaled) {
                totals[0] = multiply_add(totals[0], vuzp1q_s32(s[0], s[1]), factors[half]);
                totals[1] = multiply_add(totals[1], vuzp2q_s32(s[0], s[1]), factors[half]);
                s[0] = s[1] = zero;
            }
        }
        out[0] = {vcvtq_f32_s32(kScaled ? totals[0] : vuzp1q_s32(s[0], s[1]))};
        out[1] = {vcvtq_f32_s32(kScaled ? totals[1] : vuzp2q_s32(s[0], s[1]))};
    }

  private:
    int8x16_t eights_[4][2];
};
#endif

#if defined(__ARM_FEATURE_DOTPROD)
// Four products of signed bytes are added to an int32 in one instruction, which also picks the four q from a
// register of sixteen.
template <Codes kCodes, int kOffset>
struct Sum {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    using OfTwo = SumsOfTwo<kCodes, kOffset>;
#endif
    int32x4_t s, total = vdupq_n_s32(0);

    explicit Sum(const Int8Group& x) {
        const int32x4_t pairs = offset_of<kOffset>(x, x);
        s = vpaddq_s32(pairs, pairs);
    }
    [[gnu::always_inline]] void add(U codes, const std::int8_t* q, int i) {
        const int8x16_t w = vreinterpretq_s8_u8(codes.v), sixteen = vld1q_s8(q + i / 4 * 16);
        switch (i % 4) {
            case 0: s = vdotq_laneq_s32(s, w, sixteen, 0); break;
            case 1: s = vdotq_laneq_s32(s, w, sixteen, 1); break;
            case 2: s = vdotq_laneq_s32(s, w, sixteen, 2); break;
            default: s = vdotq_laneq_s32(s, w, sixteen, 3);
        }
    }
    void scale(U by) {
        total = multiply_add(total, s, by);
        s = vdupq_n_s32(0);
    }
    F value() const { return {vcvtq_f32_s32(kCodes == Codes::scaled ? total : s)}; }
};
#else
// Products are int16, and kRun of them fit into one before it has to be widened: a lane gets a product of
// each vector of codes, at most 32 * 127 of narrow codes, 3 * 127 of scaled ones, 128 * 127 of others.
template <Codes kCodes, int kOffset>
struct Sum {
    static constexpr int kRun = kCodes == Codes::narrow ? 8 : kCodes == Codes::scaled ? 4 : 2;
    static_assert(kCodes != Codes::narrow || kOffset <= 16);

    int16x8_t short_low, short_high;  // of rows 0 and 1, 2 and 3, four lanes each
    int32x4_t low, high, total = vdupq_n_s32(0);

    explicit Sum(const Int8Group& x) : low(offset_of<kOffset>(x, x)), high(low) {}
    [[gnu::always_inline]] void add(U codes, const std::int8_t* q, int i) {
        std::int32_t four;
        __builtin_memcpy(&four, q + 4 * i, 4);
        const int8x16_t w = vreinterpretq_s8_u8(codes.v), x = vreinterpretq_s8_s32(vdupq_n_s32(four));
        const int8x8_t left = vget_low_s8(w), same = vget_low_s8(x);
        const bool first = i % kRun == 0, last = i % kRun == kRun - 1;
        short_low = first ? vmull_s8(left, same) : vmlal_s8(short_low, left, same);
        short_high = first ? vmull_high_s8(w, x) : vmlal_high_s8(short_high, w, x);
        if (!last) return;
        low = vpadalq_s16(low, short_low);
        high = vpadalq_s16(high, short_high);
    }
    void scale(U by) {
        total = multiply_add(total, vpaddq_s32(low, high), by);
        low = high = vdupq_n_s32(0);
    }
    F value() const { return {vcvtq_f32_s32(kCodes == Codes::scaled ? total : vpaddq_s32(low, high))}; }
};
#endif

inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    auto eight = [&](const float* p) {
        auto four = [&](const float* from) {
            float32x4_t v = vmulq_n_f32(vld1q_f32(from), inverse);
            return vqmovn_s32(vcvtnq_s32_f32(vmaxnmq_f32(v, vdupq_n_f32(-127))));  // NaN: -127
        };
        return vqmovn_s16(vcombine_s16(four(p), four(p + 4)));
    };
    for (int i = 0; i < 32; i += 8) vst1_s8(q + i, eight(x + i));
}

inline void sum_bytes(const std::int8_t* q, std::int16_t (&sums)[2][2]) {
    // Sums of neighbours, which alternate between the two kinds: as long as they are added by twos, they stay
    // apart.
    const int16x8_t a = vpaddlq_s8(vld1q_s8(q)), b = vpaddlq_s8(vld1q_s8(q + 16));
    auto add_twos = [](int32x4_t x, int32x4_t y) {
        return vreinterpretq_s32_s16(
            vaddq_s16(vreinterpretq_s16_s32(vuzp1q_s32(x, y)), vreinterpretq_s16_s32(vuzp2q_s32(x, y))));
    };
    int32x4_t s = add_twos(vreinterpretq_s32_s16(a), vreinterpretq_s32_s16(b));  // | a | a | b | b |
    s = add_twos(s, s);
    vst1_s16(sums[0], vget_low_s16(vreinterpretq_s16_s32(s)));
}

inline void opaque(F& a) { asm volatile("" : "+w"(a.v)); }
inline void opaque(U& a) { asm volatile("" : "+w"(a.v)); }

}  // namespace
