#if defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8) && \
    defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include "kernels/cpu/simd_neon.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* neon_i8mm_table() {
    static constexpr Table table = make_table("neon_i8mm");
    return &table;
}

}  // namespace cachalot::cpu
#else
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

const Table* neon_i8mm_table() { return nullptr; }

}  // namespace cachalot::cpu
#endif
