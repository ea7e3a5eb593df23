// The AVX-512 kernels on any x86-64 processor: compiled with SIMDe, which spells each instruction out in
// plain C. Slow, but every line of simd_avx512.h is executed and compared with the reference wherever the
// tests run.
#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <simde/x86/gfni.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/float_formats.h"

// What this version of SIMDe lacks, lane by lane.
namespace {

template <class Lane, int kLanes, class Vector>
void lanes_of(const Vector& v, Lane (&out)[kLanes]) {
    static_assert(sizeof v == sizeof out);
    std::memcpy(out, &v, sizeof out);
}
template <class Vector, class Lane, int kLanes>
Vector vector_of(const Lane (&lanes)[kLanes]) {
    Vector v;
    static_assert(sizeof v == sizeof lanes);
    std::memcpy(&v, lanes, sizeof v);
    return v;
}
template <class To, class From, class Vector, class Source, class Convert>
Vector convert_lanes(const Source& source, Convert convert) {
    From in[16];
    To out[16];
    lanes_of(source, in);
    for (int i = 0; i < 16; ++i) out[i] = convert(in[i]);
    return vector_of<Vector>(out);
}

float emulated_reduce_add(simde__m512 a) {  // pairwise halves, as compilers do it
    float x[16];
    lanes_of(a, x);
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; ++i) x[i] += x[i + n];
    return x[0];
}
float emulated_reduce_max(simde__m512 a) {
    float x[16];
    lanes_of(a, x);
    return *std::max_element(x, x + 16);
}

// SIMDe's own shifts by 64 where a byte begins at bit 0.
simde__m512i emulated_multishift(simde__m512i control, simde__m512i a) {
    std::uint64_t from[8];
    std::uint8_t bit[64], out[64];
    lanes_of(a, from);
    lanes_of(control, bit);
    for (int i = 0; i < 64; ++i) out[i] = static_cast<std::uint8_t>(std::rotr(from[i / 8], bit[i] & 63));
    return vector_of<simde__m512i>(out);
}

}  // namespace

#undef _mm512_multishift_epi64_epi8
#define _mm512_multishift_epi64_epi8 emulated_multishift
#define _mm512_reduce_add_ps emulated_reduce_add
#define _mm512_reduce_max_ps emulated_reduce_max
#define _mm512_cvtph_ps(a) convert_lanes<float, std::uint16_t, simde__m512>(a, cachalot::f16_to_f32)
#define _mm512_cvtepu16_epi32(a) \
    convert_lanes<std::int32_t, std::uint16_t, simde__m512i>(a, [](auto v) { return v; })
#define _mm512_cvtepi32_epi16(a)                              \
    convert_lanes<std::uint16_t, std::int32_t, simde__m256i>( \
        a, [](auto v) { return static_cast<std::uint16_t>(v); })
#undef _mm512_madd_epi16  // names the masked one
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#define _mm512_cvtepu8_epi32(a) \
    convert_lanes<std::int32_t, std::uint8_t, simde__m512i>(a, [](auto v) { return v; })
#define _mm512_cvtepi32_ps(a) \
    convert_lanes<float, std::int32_t, simde__m512>(a, [](auto v) { return static_cast<float>(v); })
#define _mm512_cvtps_epi32(a)                                                                           \
    convert_lanes<std::int32_t, float, simde__m512i>(a, [](float v) {                                   \
        return std::fabs(v) < 2147483648.0f ? static_cast<std::int32_t>(std::nearbyint(v)) : INT32_MIN; \
    })
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
#ifndef _MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_TO_NEAREST_INT SIMDE_MM_FROUND_TO_NEAREST_INT
#endif

#define CACHALOT_SIMD_EMULATED  // keeps <immintrin.h> out
#include "kernels/cpu/simd_avx512.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::test {

const cpu::Table* avx512_emulated_table() {
    static constexpr cpu::Table table = make_table("avx512 emulated");
    return &table;
}

}  // namespace cachalot::test
