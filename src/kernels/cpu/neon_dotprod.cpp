#if defined(__ARM_FEATURE_DOTPROD)
#include "kernels/cpu/simd_neon.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* neon_dotprod_table() {
    static constexpr Table table = make_table("neon_dotprod");
    return &table;
}

}  // namespace cachalot::cpu
#else
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

const Table* neon_dotprod_table() { return nullptr; }

}  // namespace cachalot::cpu
#endif
