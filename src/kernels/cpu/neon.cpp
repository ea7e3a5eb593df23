#if defined(__aarch64__)
#include "kernels/cpu/simd_neon.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* neon_table() {
    static constexpr Table table = make_table("neon");
    return &table;
}

}  // namespace cachalot::cpu
#else
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

const Table* neon_table() { return nullptr; }

}  // namespace cachalot::cpu
#endif
