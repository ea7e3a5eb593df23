// AVX-512 (F, BW, DQ, VL) with VNNI: sixteen floats, int8 dot products in one instruction.
#pragma once

#if !defined(CACHALOT_SIMD_EMULATED)  // tests/kernels/avx512_emulated.cpp
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/table.h"

namespace {

using cachalot::cpu::Codes;

#define CACHALOT_SIMD_HAS_ROWS  // rows_avx512.inl

struct F {
    static constexpr int kWidth = 16;
    static constexpr int kRegisters = 32;
    __m512 v;
};
inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline F broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F minimum(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F maximum(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F absolute(F a) { return {_mm512_abs_ps(a.v)}; }
inline F round_even(F a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline F times_pow2(F a, F n) { return {_mm512_scalef_ps(a.v, n.v)}; }
inline float reduce_add(F a) { return _mm512_reduce_add_ps(a.v); }
inline float reduce_max(F a) { return _mm512_reduce_max_ps(a.v); }
// Lane i: reduce_add(a[i]), the same sums in the same order.
inline F reduce_add_each(const F* a) {
    auto halves = [&](__m512 u, __m512 v) {  // of u, then of v
        const __m512i i = _mm512_castps_si512(u), j = _mm512_castps_si512(v);
        return _mm512_add_ps(_mm512_castsi512_ps(_mm512_shuffle_i32x4(i, j, 0x44)),
                             _mm512_castsi512_ps(_mm512_shuffle_i32x4(i, j, 0xee)));
    };
    auto quarters = [&](int first) {  // of four vectors, one in each quarter of the register
        const __m512i i = _mm512_castps_si512(halves(a[first].v, a[first + 4].v)),
                      j = _mm512_castps_si512(halves(a[first + 8].v, a[first + 12].v));
        return _mm512_add_ps(_mm512_castsi512_ps(_mm512_shuffle_i32x4(i, j, 0x88)),
                             _mm512_castsi512_ps(_mm512_shuffle_i32x4(i, j, 0xdd)));
    };
    auto pairs = [](__m512 u, __m512 v) {
        return _mm512_add_ps(_mm512_shuffle_ps(u, v, 0x44), _mm512_shuffle_ps(u, v, 0xee));
    };
    const __m512 u = pairs(quarters(0), quarters(1)), v = pairs(quarters(2), quarters(3));
    return {_mm512_add_ps(_mm512_shuffle_ps(u, v, 0x88), _mm512_shuffle_ps(u, v, 0xdd))};
}

inline F load_f16(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline F load_bf16(const std::byte* p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
// As in simd_avx2.h.
inline F load_e4m3(const std::byte* p) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i half = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(-0x4080));
    return {_mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256))};
}

struct U {
    __m512i v;
};
// Four rows in each quarter of the register, transposed there.
inline void gather(const std::byte* const* rows, std::int64_t at, U (&out)[4]) {
    auto four = [&](int i) {
        auto part = [&](int r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + at)); };
        __m512i v = _mm512_castsi128_si512(part(i));
        v = _mm512_inserti32x4(v, part(i + 4), 1);
        v = _mm512_inserti32x4(v, part(i + 8), 2);
        return _mm512_inserti32x4(v, part(i + 12), 3);
    };
    __m512i a = four(0), b = four(1), c = four(2), d = four(3);
    __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    out[0].v = _mm512_unpacklo_epi64(ab, cd);
    out[1].v = _mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpackhi_epi32(c, d);
    out[2].v = _mm512_unpacklo_epi64(ab, cd);
    out[3].v = _mm512_unpackhi_epi64(ab, cd);
}
inline U load_lanes(const std::uint8_t (*lanes)[4]) { return {_mm512_loadu_si512(lanes)}; }
#if defined(__AVX512VBMI__) || defined(CACHALOT_SIMD_EMULATED)
// The bytes of a row come to all its lanes at once; masks keep one lane of four, then four lanes of sixteen.
// Six masks stay in registers, where sixteen could not.
template <int kA, int kB, int kC, int kD>
U pick(const std::byte* const* rows, std::int64_t at) {
    const __m512i bytes = _mm512_set1_epi32(kA | kB << 8 | kC << 16 | kD << 24);
    auto four = [&](int i) {
        auto row = [&](int r) { return _mm512_loadu_si512(rows[r] + at); };
        __m512i v = _mm512_permutexvar_epi8(bytes, row(i));
        v = _mm512_mask_permutexvar_epi8(v, 0x00f000f000f000f0, bytes, row(i + 1));
        v = _mm512_mask_permutexvar_epi8(v, 0x0f000f000f000f00, bytes, row(i + 2));
        return _mm512_mask_permutexvar_epi8(v, 0xf000f000f000f000, bytes, row(i + 3));
    };
    __m512i v = _mm512_mask_mov_epi32(four(0), 0x00f0, four(4));
    v = _mm512_mask_mov_epi32(v, 0x0f00, four(8));
    return {_mm512_mask_mov_epi32(v, 0xf000, four(12))};
}
#else
template <int kA, int kB, int kC, int kD>
U pick(const std::byte* const* rows, std::int64_t at) {
    std::uint8_t lanes[16][4];
    for (int i = 0; i < 16; ++i) {
        const auto* row = reinterpret_cast<const std::uint8_t*>(rows[i] + at);
        lanes[i][0] = row[kA], lanes[i][1] = row[kB], lanes[i][2] = row[kC], lanes[i][3] = row[kD];
    }
    return load_lanes(lanes);
}
#endif
inline U low_nibbles(U a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
inline U high_nibbles(U a) { return low_nibbles({_mm512_srli_epi16(a.v, 4)}); }
inline U lookup(const std::uint8_t (&table)[16], U codes) {
    __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), codes.v)};
}
inline U flip_sign(U a) { return {_mm512_xor_si512(a.v, _mm512_set1_epi8(-128))}; }
inline void interleave_nibbles(U a, U (&out)[2]) {
    __m512i low = low_nibbles(a).v, high = high_nibbles(a).v;
    __m512 l = _mm512_castsi512_ps(_mm512_unpacklo_epi8(low, high));
    __m512 r = _mm512_castsi512_ps(_mm512_unpackhi_epi8(low, high));
    out[0].v = _mm512_castps_si512(_mm512_shuffle_ps(l, r, 0x88));
    out[1].v = _mm512_castps_si512(_mm512_shuffle_ps(l, r, 0xdd));
}
// Eight bytes from where at(row) points to.
template <class At>
[[gnu::always_inline]] inline void gather_eights(At at, U (&out)[2]) {
    auto eight = [&](int i) {  // of rows i, i + 1, i + 4, i + 5, ...
        auto pair = [&](int r) {
            __m128d low = _mm_castsi128_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at(r))));
            return _mm_castpd_si128(_mm_loadh_pd(low, reinterpret_cast<const double*>(at(r + 1))));
        };
        __m512i v = _mm512_castsi128_si512(pair(i));
        v = _mm512_inserti32x4(v, pair(i + 4), 1);
        v = _mm512_inserti32x4(v, pair(i + 8), 2);
        return _mm512_castsi512_ps(_mm512_inserti32x4(v, pair(i + 12), 3));
    };
    __m512 a = eight(0), b = eight(2);
    out[0].v = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88));
    out[1].v = _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd));
}
inline U operator&(U a, U b) { return {_mm512_and_si512(a.v, b.v)}; }
inline U operator|(U a, U b) { return {_mm512_or_si512(a.v, b.v)}; }
inline U operator^(U a, U b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline U add_bytes(U a, U b) { return {_mm512_add_epi8(a.v, b.v)}; }
inline U subtract_bytes(U a, U b) { return {_mm512_sub_epi8(a.v, b.v)}; }
inline U repeat(std::uint32_t four) { return {_mm512_set1_epi32(static_cast<int>(four))}; }
template <int kBits>
U shift_right(U a) {
    return {_mm512_srli_epi32(a.v, kBits)};
}
template <int kBits>
U shift_left(U a) {
    return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kByte>
U factor(U a) {  // for the lower int16 of a lane, where a short sum of either sign fits
    const __m128i lanes = _mm_setr_epi8(kByte, -1, -1, -1, kByte + 4, -1, -1, -1, kByte + 8, -1, -1, -1,
                                        kByte + 12, -1, -1, -1);
    return {_mm512_shuffle_epi8(a.v, _mm512_broadcast_i32x4(lanes))};
}
#if defined(__AVX512VBMI__) || defined(CACHALOT_SIMD_EMULATED)
// vpmultishiftqb takes eight bits from any place of a lane pair for each byte. This is such a control for the
// bytes of a lane: byte i from bit kBit + i * kStep on.
template <int kBit, int kStep>
__m512i bits_from(__m512i a) {
    auto control = [](int lane) {
        std::uint32_t c = 0;
        for (int i = 0; i < 4; ++i)
            c |= static_cast<std::uint32_t>((32 * lane + kBit + i * kStep) & 63) << 8 * i;
        return static_cast<long long>(c);
    };
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(control(1) << 32 | control(0)), a);
}
// Four times seven bits to the low bits of four bytes.
inline U sevens_to_bytes(U a) {
    const __m512i bytes = bits_from<0, 7>(a.v);
    return {_mm512_and_si512(bytes, _mm512_set1_epi8(0x7f))};
}

// The four bytes of a lane of `indices` each name an entry of eight times two bits. Out come the bytes
// code[two bits + 4 * sign bit]: out[2 * i] and out[2 * i + 1] for byte i. An instruction looks 64 entries of
// 16 bits up, for all rows; four of them are the whole table.
#define CACHALOT_SIMD_HAS_GRID_LOOKUP
inline void grid_lookup(const std::uint16_t* table, U indices, U signs, const std::uint8_t (&code)[8],
                        U* out) {
    auto entries = [&](__m512i at) {
        auto quarter = [&](int i) {
            return _mm512_permutex2var_epi16(_mm512_loadu_si512(table + 64 * i), at,
                                             _mm512_loadu_si512(table + 64 * i + 32));
        };
        const auto bit6 = _mm512_test_epi16_mask(at, _mm512_set1_epi16(0x40));
        const auto bit7 = _mm512_test_epi16_mask(at, _mm512_set1_epi16(0x80));
        const __m512i low = _mm512_mask_mov_epi16(quarter(0), bit6, quarter(1)),
                      high = _mm512_mask_mov_epi16(quarter(2), bit6, quarter(3));
        return _mm512_mask_mov_epi16(low, bit7, high);
    };
    const __m512i even = entries(indices.v), odd = entries(_mm512_srli_epi16(indices.v, 8));
    long long eight;
    __builtin_memcpy(&eight, code, 8);
    const __m512i codes = _mm512_set1_epi64(eight);  // of which the three low bits of an index take one
    auto put = [&](__m512i magnitudes, __m512i sign, U& to) {
        const __m512i index = _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), magnitudes, sign, 0xca);
        to.v = _mm512_permutexvar_epi8(index, codes);
    };
    put(bits_from<0, 2>(even), bits_from<-2, 1>(signs.v), out[0]);
    put(bits_from<8, 2>(even), bits_from<2, 1>(signs.v), out[1]);
    put(bits_from<0, 2>(odd), bits_from<6, 1>(signs.v), out[2]);
    put(bits_from<8, 2>(odd), bits_from<10, 1>(signs.v), out[3]);
    put(bits_from<16, 2>(even), bits_from<14, 1>(signs.v), out[4]);
    put(bits_from<24, 2>(even), bits_from<18, 1>(signs.v), out[5]);
    put(bits_from<16, 2>(odd), bits_from<22, 1>(signs.v), out[6]);
    put(bits_from<24, 2>(odd), bits_from<26, 1>(signs.v), out[7]);
}
#endif
template <int kByte, int kNibble>
U bit_masks(U a) {  // all sixteen masks are in one register; the instruction takes four bits of each lane
    constexpr int k0 = 0, k1 = 0xff, k2 = 0xff00, k3 = 0xffff, kHigh = 0xff0000, kTop = -0x1000000;
    const __m512i masks =
        _mm512_setr_epi32(k0, k1, k2, k3, kHigh, kHigh | k1, kHigh | k2, kHigh | k3, kTop, kTop | k1,
                          kTop | k2, kTop | k3, kTop | kHigh, kTop | kHigh | k1, kTop | kHigh | k2, -1);
    return {_mm512_permutexvar_epi32(_mm512_srli_epi32(a.v, 8 * kByte + 4 * kNibble), masks)};
}
template <int kHalf>
F from_f16(U a) {
    return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(kHalf ? _mm512_srli_epi32(a.v, 16) : a.v))};
}
template <int kByte>
__m512i byte_of(U a) {
    return _mm512_and_si512(_mm512_srli_epi32(a.v, 8 * kByte), _mm512_set1_epi32(0xff));
}
template <int kByte>
F from_e8m0(U a) {  // as in simd_avx2.h
    constexpr int kLeft = 23 - 8 * kByte;
    __m512i bits = kLeft > 0 ? _mm512_slli_epi32(a.v, kLeft > 0 ? kLeft : 0)
                             : _mm512_srli_epi32(a.v, kLeft > 0 ? 0 : -kLeft);
    bits = _mm512_and_si512(bits, _mm512_set1_epi32(0x7f800000));
    return {_mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_set1_epi32(0x400000)))};
}
template <int kByte>
F from_byte(U a) {
    return {_mm512_cvtepi32_ps(byte_of<kByte>(a))};
}

// VNNI: four products of unsigned and signed bytes are added to an int32 in one instruction, whatever the
// codes.
constexpr bool kSignedFull = false;
inline __m512i four_times(const void* p) {
    int four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
// The four q are broadcast by the instruction itself. Compilers load them into a register of their own first,
// which makes products a third slower on Sapphire Rapids, since the instructions cannot be issued fast
// enough.
inline __m512i add_products(__m512i sum, __m512i codes, const std::int8_t* q) {
#if defined(CACHALOT_SIMD_EMULATED)
    return _mm512_dpbusd_epi32(sum, codes, four_times(q));
#else
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sum)
        : "v"(codes), "m"(*reinterpret_cast<const std::int8_t(*)[4]>(q)));
    return sum;
#endif
}
template <Codes kCodes, int kOffset>
struct Sum {
    __m512i s, total = _mm512_setzero_si512();
    explicit Sum(const cachalot::cpu::Int8Group& x) {
        s = kOffset ? _mm512_madd_epi16(four_times(x.pair_sums), _mm512_set1_epi16(-kOffset))
                    : _mm512_setzero_si512();
    }
    void add(U codes, const std::int8_t* q, int i) { s = add_products(s, codes.v, q + 4 * i); }
    void add_sums(U sums) { s = _mm512_add_epi32(s, sums.v); }
    void scale(U by) {
        total = _mm512_add_epi32(total, _mm512_madd_epi16(s, by.v));
        s = _mm512_setzero_si512();
    }
    F value() const { return {_mm512_cvtepi32_ps(kCodes == Codes::scaled ? total : s)}; }
};

#if defined(__AMX_INT8__) || defined(CACHALOT_SIMD_EMULATED)
// AMX: products of 16 rows of activations at a time. The codes of a group, as they lie in eight vectors, are
// what the instruction wants for its second operand: four columns of sixteen rows of weights in each line.
#define CACHALOT_SIMD_HAS_TILES
constexpr int kTileRows = 16;

// What a thread has to set up before products of `rows` rows, and to put away afterwards. Of the tiles, 0 and
// 1 are sums and activations of whole blocks of rows, 3 and 4 those of what is left, 2 is the codes.
class Tiles {
  public:
    explicit Tiles(int rows) : rows_(rows) {
#if !defined(CACHALOT_SIMD_EMULATED)
        struct alignas(64) {
            std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
            std::uint16_t bytes[16] = {};
            std::uint8_t rows[16] = {};
        } config;
        auto set = [&](int tile, int count, int width) {
            config.rows[tile] = static_cast<std::uint8_t>(count);
            config.bytes[tile] = static_cast<std::uint16_t>(width);
        };
        const int left = rows % kTileRows ? rows % kTileRows : kTileRows;
        set(0, kTileRows, 64), set(1, kTileRows, 32), set(2, 8, 64), set(3, left, 64), set(4, left, 32);
        asm volatile("ldtilecfg %0" ::"m"(config));
#endif
    }
    ~Tiles() {
#if !defined(CACHALOT_SIMD_EMULATED)
        asm volatile("tilerelease");
#endif
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;

    // The codes of a group for the products that follow; they stay where they are until these are done.
    void take_codes(const U* codes) {  // [8]
#if defined(CACHALOT_SIMD_EMULATED)
        codes_ = codes;
#else
        asm volatile("tileloadd (%0,%1,1), %%tmm2" ::"r"(codes), "r"(64L),
                     "m"(*reinterpret_cast<const U(*)[8]>(codes)));
#endif
    }
    // sums[r][n] = products of rows first .. first + 15, as far as there are, with weight row n
    void multiply(const cachalot::cpu::Int8Group* x, int first, U (&sums)[kTileRows]) const {
        x += first;
#if defined(CACHALOT_SIMD_EMULATED)
        for (int r = 0; r < kTileRows && first + r < rows_; ++r) {
            std::int32_t total[16] = {};
            for (int i = 0; i < 8 * 64; ++i) {
                const auto* bytes = reinterpret_cast<const std::uint8_t*>(codes_);
                total[i % 64 / 4] += bytes[i] * x[r].q[i / 64 * 4 + i % 4];
            }
            __builtin_memcpy(&sums[r], total, sizeof total);
        }
#else
        const long stride = sizeof *x;
        if (first + kTileRows <= rows_)
            asm volatile(
                "tilezero %%tmm0\n\ttileloadd (%1,%2,1), %%tmm1\n\ttdpbsud %%tmm2, %%tmm1, %%tmm0\n\t"
                "tilestored %%tmm0, (%0,%3,1)" ::"r"(sums),
                "r"(x), "r"(stride), "r"(64L)
                : "memory");
        else
            asm volatile(
                "tilezero %%tmm3\n\ttileloadd (%1,%2,1), %%tmm4\n\ttdpbsud %%tmm2, %%tmm4, %%tmm3\n\t"
                "tilestored %%tmm3, (%0,%3,1)" ::"r"(sums),
                "r"(x), "r"(stride), "r"(64L)
                : "memory");
#endif
    }

  private:
    int rows_;
#if defined(CACHALOT_SIMD_EMULATED)
    const U* codes_ = nullptr;
#endif
};
#endif

inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    const __m512 s = _mm512_set1_ps(inverse);
    auto sixteen = [&](int i) {
        return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), s)));
    };
    // One store, since sum_bytes() loads them as one.
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q),
                        _mm256_inserti128_si256(_mm256_castsi128_si256(sixteen(0)), sixteen(16), 1));
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

#if !defined(CACHALOT_SIMD_EMULATED)
inline void opaque(F& a) { asm volatile("" : "+v"(a.v)); }
inline void opaque(U& a) { asm volatile("" : "+v"(a.v)); }
#else
template <class T>
void opaque(T& value) {
    asm volatile("" : "+m"(value));
}
#endif

}  // namespace

#if defined(__AVX512BF16__)
#include "kernels/cpu/simd_avx512_bf16.h"
#endif
