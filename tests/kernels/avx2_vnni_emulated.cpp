// The AVX-VNNI kernels on any processor with AVX2: the one instruction that it adds, spelled out.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

__m256i emulated_dpbusd(__m256i sums, __m256i a, __m256i b) {
    std::int32_t s[8];
    std::uint8_t u[32];
    std::int8_t v[32];
    std::memcpy(s, &sums, 32);
    std::memcpy(u, &a, 32);
    std::memcpy(v, &b, 32);
    for (int i = 0; i < 32; ++i) s[i / 4] += u[i] * v[i];
    std::memcpy(&sums, s, 32);
    return sums;
}

}  // namespace

#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd
#include "kernels/cpu/simd_avx2.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::test {

const cpu::Table* avx2_vnni_emulated_table() {
    static constexpr cpu::Table table = make_table("avx2_vnni emulated");
    return &table;
}

}  // namespace cachalot::test
