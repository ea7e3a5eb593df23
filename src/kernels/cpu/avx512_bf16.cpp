#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512VNNI__) && defined(__AVX512VBMI__) && defined(__AVX512BF16__)
#include "kernels/cpu/simd_avx512.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* avx512_bf16_table() {
    static constexpr Table pairs = make_table("avx512_bf16"), halves = make_table<ByHalves>("avx512_bf16");
    return __builtin_cpu_is("intel") ? &halves : &pairs;
}

}  // namespace cachalot::cpu
#else
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

const Table* avx512_bf16_table() { return nullptr; }

}  // namespace cachalot::cpu
#endif
