// Bfloat16 with AVX-512, included by simd_avx512.h: two products for each float32 of a sum.
#pragma once

namespace {

#define CACHALOT_SIMD_HAS_BF16
struct B {
    static constexpr int kWidth = 32;
    __m512i v;
};
inline B load(const std::uint16_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store(std::uint16_t* p, B a) { _mm512_storeu_si512(p, a.v); }
inline B round_to_bf16(F low, F high) {
    const __m512bh b = _mm512_cvtne2ps_pbh(high.v, low.v);
    return {reinterpret_cast<const __m512i&>(b)};
}
inline F fma(B a, B b, F c) {
    return {_mm512_dpbf16_ps(c.v, reinterpret_cast<const __m512bh&>(a.v),
                             reinterpret_cast<const __m512bh&>(b.v))};
}

// 32 values of E4M3 times 2^(scale - 127), where that is a normal number. What is not a normal number of E4M3
// comes from a table.
#define CACHALOT_SIMD_HAS_E4M3_TO_BF16
inline bool fits_bf16(std::uint8_t scale) { return scale >= 10 && scale <= 246; }
inline B e4m3_to_bf16(const std::byte* p, std::uint8_t scale) {
    const __m512i wide = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
                  magnitude = _mm512_and_si512(wide, _mm512_set1_epi16(0x7f)),
                  shift = _mm512_set1_epi16(static_cast<short>((scale - 127) * 128));
    const __m512i below = _mm512_maskz_add_epi16(
        0xfe, shift,
        _mm512_castsi128_si512(_mm_setr_epi16(0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60)));
    const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4),
                                            _mm512_add_epi16(shift, _mm512_set1_epi16(120 * 128)));
    const __m512i value = _mm512_mask_permutexvar_epi16(
        normal, _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8)), magnitude, below);
    // value | sign
    return {_mm512_ternarylogic_epi32(value, _mm512_slli_epi16(wide, 8), _mm512_set1_epi16(-0x8000), 0xf8)};
}

// The same product with the pairs taken apart. Intel defines the instruction as these two, the odd elements
// first, with denormals taken for zeros and made zeros, which is what FlushDenormals does.
#define CACHALOT_SIMD_HAS_HALVES
struct Halves {
    static constexpr int kWidth = B::kWidth;
    F even, odd;
};
inline Halves halves(B b) {
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(b.v, 16))},
            {_mm512_castsi512_ps(_mm512_and_si512(b.v, _mm512_set1_epi32(-0x10000)))}};
}
inline F fma(const Halves& a, const Halves& b, F c) { return fma(a.even, b.even, fma(a.odd, b.odd, c)); }

class FlushDenormals {
  public:
    FlushDenormals() { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
    const unsigned before_ = _mm_getcsr();
};

}  // namespace
