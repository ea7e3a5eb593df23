// AVX2 + FMA + F16C, and AVX-VNNI where the file is compiled for it: eight floats.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/table.h"

namespace {

using cachalot::cpu::Codes;

struct F {
    static constexpr int kWidth = 8;
    static constexpr int kRegisters = 16;
    __m256 v;
};
inline F load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, F a) { _mm256_storeu_ps(p, a.v); }
inline F broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F minimum(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F maximum(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F absolute(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F round_even(F a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline F times_pow2(F a, F n) {
    __m256i e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23);
    return {_mm256_mul_ps(a.v, _mm256_castsi256_ps(e))};
}
inline float reduce_add(__m128 a) {
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    a = _mm_add_ss(a, _mm_movehdup_ps(a));
    return _mm_cvtss_f32(a);
}
inline float reduce_add(F a) {
    return reduce_add(_mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1)));
}
// Lane i: reduce_add(a[i]), the same sums in the same order.
inline F reduce_add_each(const F* a) {
    auto halves = [&](int i) {  // of vectors i and i + 4, one in each half of the register
        return _mm256_add_ps(_mm256_permute2f128_ps(a[i].v, a[i + 4].v, 0x20),
                             _mm256_permute2f128_ps(a[i].v, a[i + 4].v, 0x31));
    };
    auto pairs = [&](__m256 u, __m256 v) {
        return _mm256_add_ps(_mm256_shuffle_ps(u, v, 0x44), _mm256_shuffle_ps(u, v, 0xee));
    };
    const __m256 u = pairs(halves(0), halves(1)), v = pairs(halves(2), halves(3));
    return {_mm256_add_ps(_mm256_shuffle_ps(u, v, 0x88), _mm256_shuffle_ps(u, v, 0xdd))};
}
inline float reduce_max(F a) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

inline F load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline F load_bf16(const std::byte* p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}
// The seven bits below the sign, moved seven up, are an F16 of 2^-8 the value (subnormals included); NaN
// codes give 480. The sign comes with a copy of itself, which is removed. As float32 small values would be
// denormal, for which a product can take a hundred cycles.
inline F load_e4m3(const std::byte* p) {
    const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m128i half = _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(-0x4080));
    return {_mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256))};
}

struct U {
    __m256i v;
};
// Four rows in each half of the register, transposed there.
inline void gather(const std::byte* const* rows, std::int64_t at, U (&out)[4]) {
    auto two = [&](int i) {
        auto part = [&](int r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at)); };
        return _mm256_inserti128_si256(_mm256_castsi128_si256(part(i)), part(i + 4), 1);
    };
    __m256i a = two(0), b = two(1), c = two(2), d = two(3);
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    out[0].v = _mm256_unpacklo_epi64(ab, cd);
    out[1].v = _mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b), cd = _mm256_unpackhi_epi32(c, d);
    out[2].v = _mm256_unpacklo_epi64(ab, cd);
    out[3].v = _mm256_unpackhi_epi64(ab, cd);
}
inline U load_lanes(const std::uint8_t (*lanes)[4]) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes))};
}
template <int kA, int kB, int kC, int kD>
U pick(const std::byte* const* rows, std::int64_t at) {
    std::uint8_t lanes[8][4];
    for (int i = 0; i < 8; ++i) {
        const auto* row = reinterpret_cast<const std::uint8_t*>(rows[i] + at);
        lanes[i][0] = row[kA], lanes[i][1] = row[kB], lanes[i][2] = row[kC], lanes[i][3] = row[kD];
    }
    return load_lanes(lanes);
}
inline U low_nibbles(U a) { return {_mm256_and_si256(a.v, _mm256_set1_epi8(15))}; }
inline U high_nibbles(U a) { return low_nibbles({_mm256_srli_epi16(a.v, 4)}); }
inline U lookup(const std::uint8_t (&table)[16], U codes) {
    __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return {_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), codes.v)};
}
inline U flip_sign(U a) { return {_mm256_xor_si256(a.v, _mm256_set1_epi8(-128))}; }
inline void interleave_nibbles(U a, U (&out)[2]) {
    __m256i low = low_nibbles(a).v, high = high_nibbles(a).v;
    __m256i left = _mm256_unpacklo_epi8(low, high), right = _mm256_unpackhi_epi8(low, high);
    // left and right hold 8 bytes of rows 0 1 | 4 5 and 2 3 | 6 7
    __m256 l = _mm256_castsi256_ps(left), r = _mm256_castsi256_ps(right);
    out[0].v = _mm256_castps_si256(_mm256_shuffle_ps(l, r, 0x88));
    out[1].v = _mm256_castps_si256(_mm256_shuffle_ps(l, r, 0xdd));
}
// Eight bytes from where at(row) points to.
template <class At>
[[gnu::always_inline]] inline void gather_eights(At at, U (&out)[2]) {
    auto four = [&](int i) {  // of rows i, i + 1, i + 4, i + 5
        auto pair = [&](int r) {
            __m128d low = _mm_castsi128_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at(r))));
            return _mm_loadh_pd(low, reinterpret_cast<const double*>(at(r + 1)));
        };
        return _mm256_castpd_ps(_mm256_insertf128_pd(_mm256_castpd128_pd256(pair(i)), pair(i + 4), 1));
    };
    __m256 a = four(0), b = four(2);
    out[0].v = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    out[1].v = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
}
inline U operator&(U a, U b) { return {_mm256_and_si256(a.v, b.v)}; }
inline U operator|(U a, U b) { return {_mm256_or_si256(a.v, b.v)}; }
inline U operator^(U a, U b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline U add_bytes(U a, U b) { return {_mm256_add_epi8(a.v, b.v)}; }
inline U subtract_bytes(U a, U b) { return {_mm256_sub_epi8(a.v, b.v)}; }
inline U repeat(std::uint32_t four) { return {_mm256_set1_epi32(static_cast<int>(four))}; }
template <int kBits>
U shift_right(U a) {
    return {_mm256_srli_epi32(a.v, kBits)};
}
template <int kBits>
U shift_left(U a) {
    return {_mm256_slli_epi32(a.v, kBits)};
}
template <int kByte, int kNibble>
U bit_masks(U a) {
    const __m128i lanes =
        _mm_setr_epi8(kByte, kByte, kByte, kByte, kByte + 4, kByte + 4, kByte + 4, kByte + 4, kByte + 8,
                      kByte + 8, kByte + 8, kByte + 8, kByte + 12, kByte + 12, kByte + 12, kByte + 12);
    const __m256i bits = _mm256_set1_epi32(kNibble ? static_cast<int>(0x80402010) : 0x08040201);
    __m256i same = _mm256_shuffle_epi8(a.v, _mm256_broadcastsi128_si256(lanes));
    return {_mm256_cmpeq_epi8(_mm256_and_si256(same, bits), bits)};
}
template <int kHalf>
F from_f16(U a) {
    __m256i wide = kHalf ? _mm256_srli_epi32(a.v, 16) : _mm256_and_si256(a.v, _mm256_set1_epi32(0xffff));
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(wide, wide), 0x08);
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(packed))};
}
template <int kByte>
__m256i byte_of(U a) {
    return _mm256_and_si256(_mm256_srli_epi32(a.v, 8 * kByte), _mm256_set1_epi32(0xff));
}
template <int kByte>
F from_e8m0(U a) {  // 0 is 2^-127, a subnormal; 255, which is NaN, gives infinity
    constexpr int kLeft = 23 - 8 * kByte;
    __m256i bits = kLeft > 0 ? _mm256_slli_epi32(a.v, kLeft > 0 ? kLeft : 0)
                             : _mm256_srli_epi32(a.v, kLeft > 0 ? 0 : -kLeft);
    bits = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000));
    return {_mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(0x400000)))};
}
template <int kByte>
F from_byte(U a) {
    return {_mm256_cvtepi32_ps(byte_of<kByte>(a))};
}

inline __m256i four_times(const void* p) {
    int four;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

#if defined(__AVXVNNI__)
// Four products of unsigned and signed bytes are added to an int32 in one instruction, whatever the codes.
constexpr bool kSignedFull = false, kSumsInInt16 = false;
template <Codes kCodes, int kOffset>
struct Sum {
    __m256i s, total = _mm256_setzero_si256();
    explicit Sum(const cachalot::cpu::Int8Group& x) {
        s = kOffset ? _mm256_madd_epi16(four_times(x.pair_sums), _mm256_set1_epi16(-kOffset))
                    : _mm256_setzero_si256();
    }
    void add(U codes, const std::int8_t* q, int i) {
        s = _mm256_dpbusd_avx_epi32(s, codes.v, four_times(q + 4 * i));
    }
    void scale(U by) {
        total = _mm256_add_epi32(total, _mm256_madd_epi16(s, by.v));
        s = _mm256_setzero_si256();
    }
    F value() const { return {_mm256_cvtepi32_ps(kCodes == Codes::scaled ? total : s)}; }
};
#else
// AVX2 multiplies unsigned by signed bytes and adds neighbours with saturation to int16, which codes up to
// 128 cannot reach. Narrow codes stay in int16 for the whole group: of 16 products the true sum fits, so it
// does not matter that the partial sums wrap. Full codes are signed, and their sign moves over to q. Scaled
// codes are so small that the sum of 16 products fits in int16, where the factor is applied.
constexpr bool kSignedFull = true, kSumsInInt16 = true;
template <Codes kCodes, int kOffset>
struct Sum {
    __m256i s, total = _mm256_setzero_si256();
    explicit Sum(const cachalot::cpu::Int8Group& x) {
        if constexpr (kOffset == 0)
            s = _mm256_setzero_si256();
        else if constexpr (kCodes == Codes::narrow)
            s = _mm256_mullo_epi16(four_times(x.pair_sums), _mm256_set1_epi16(-kOffset));
        else
            s = _mm256_madd_epi16(four_times(x.pair_sums), _mm256_set1_epi16(-kOffset));
    }
    void add(U codes, const std::int8_t* q, int i) {
        __m256i x = four_times(q + 4 * i), w = codes.v;
        if constexpr (kCodes == Codes::full) {
            x = _mm256_sign_epi8(x, w);
            w = _mm256_abs_epi8(w);
        }
        __m256i pairs = _mm256_maddubs_epi16(w, x);
        if constexpr (kCodes == Codes::narrow || kCodes == Codes::scaled)
            s = _mm256_add_epi16(s, pairs);
        else
            s = _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    void scale(U by) {
        total = _mm256_add_epi32(total, _mm256_madd_epi16(s, by.v));
        s = _mm256_setzero_si256();
    }
    F value() const {
        if constexpr (kCodes == Codes::scaled) return {_mm256_cvtepi32_ps(total)};
        __m256i sums = kCodes == Codes::narrow ? _mm256_madd_epi16(s, _mm256_set1_epi16(1)) : s;
        return {_mm256_cvtepi32_ps(sums)};
    }
};
#endif

// A factor of int16 for both sums of a lane, or for the lower half of the one, where a short sum of either
// sign fits.
template <int kByte>
U factor(U a) {
    auto byte = [](int lane) { return static_cast<char>(4 * lane + kByte); };
    auto second = [&](int lane) { return kSumsInInt16 ? byte(lane) : static_cast<char>(-1); };
    const __m128i lanes = _mm_setr_epi8(byte(0), -1, second(0), -1, byte(1), -1, second(1), -1, byte(2), -1,
                                        second(2), -1, byte(3), -1, second(3), -1);
    return {_mm256_shuffle_epi8(a.v, _mm256_broadcastsi128_si256(lanes))};
}

inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    __m256 s = _mm256_set1_ps(inverse);
    auto part = [&](int i) { return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), s)); };
    __m256i a = _mm256_packs_epi32(part(0), part(1)), b = _mm256_packs_epi32(part(2), part(3));
    __m256i bytes = _mm256_packs_epi16(a, b);  // in 4-byte pieces 0 2 4 6 | 1 3 5 7
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
}

inline void sum_bytes(const std::int8_t* q, std::int16_t (&sums)[2][2]) {
    __m256i s =
        _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)));
    s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0x4e));
    s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0xb1));
    int low = _mm256_extract_epi32(s, 0), high = _mm256_extract_epi32(s, 4);
    __builtin_memcpy(sums[0], &low, 4);
    __builtin_memcpy(sums[1], &high, 4);
}

inline void opaque(F& a) { asm volatile("" : "+x"(a.v)); }
inline void opaque(U& a) { asm volatile("" : "+x"(a.v)); }

}  // namespace
