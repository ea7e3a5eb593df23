// 32 signed bytes in one AVX2 register: what the integer products of AVX2 and of AVX-512 start from.
#pragma once

#if !defined(CACHALOT_SIMD_EMULATED)  // tests/kernels/avx512_emulated.cpp
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

namespace {

struct B32 {
    __m256i v;
};
inline B32 load_bytes(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
inline void store_bytes(std::int8_t* p, B32 b) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), b.v); }

// Codes 0..15 in each byte -> twice the E2M1 value, by table.
inline __m256i twice_e2m1(__m256i codes) {
    const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), codes);
}
inline B32 unpack_mxfp4(const std::byte* p) {
    __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
    return {twice_e2m1(_mm256_and_si256(both, _mm256_set1_epi8(15)))};
}
inline B32 unpack_pairs(const std::byte* p) {
    __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), high = _mm_srli_epi16(packed, 4);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(packed, high)),
                                           _mm_unpackhi_epi8(packed, high), 1);
    // unpacklo interleaves a low-nibble byte with its shifted self; the mask leaves one nibble of each
    return {twice_e2m1(_mm256_and_si256(both, _mm256_set1_epi8(15)))};
}

}  // namespace
