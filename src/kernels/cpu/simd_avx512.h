// AVX-512 (F, BW, DQ, VL) with VNNI: sixteen floats, int8 dot products in one instruction.
#pragma once

#if !defined(CACHALOT_SIMD_EMULATED)  // tests/kernels/avx512_emulated.cpp
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd_x86_bytes.h"

namespace {

struct F {
    static constexpr int kWidth = 16;
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

inline F load_f16(const std::byte* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline F load_bf16(const std::byte* p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
inline F load_i8(const std::int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline F load_e4m3(const std::byte* p) {  // as in simd_avx2.h
    __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    __m512i sign = _mm512_slli_epi32(_mm512_and_si512(wide, _mm512_set1_epi32(0x80)), 24);
    __m512i rest = _mm512_slli_epi32(_mm512_and_si512(wide, _mm512_set1_epi32(0x7f)), 20);
    return {_mm512_mul_ps(_mm512_castsi512_ps(_mm512_or_si512(sign, rest)), _mm512_set1_ps(0x1p120f))};
}

// A block of 32 bytes fills half a register; blocks have scales of their own, so they are not paired.
struct D {
    __m256 v;
};
inline D zero_d() { return {_mm256_setzero_ps()}; }
inline D dot_scaled(B32 w, B32 x, float scale, D acc) {
    __m256i sums =
        _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(w.v), _mm256_sign_epi8(x.v, w.v));
    return {_mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(scale), acc.v)};
}
inline float reduce_add(D a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    __m512 s = _mm512_set1_ps(inverse);
    for (int i = 0; i < 32; i += 16) {
        __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), s));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), _mm512_cvtsepi32_epi8(n));
    }
}

}  // namespace
