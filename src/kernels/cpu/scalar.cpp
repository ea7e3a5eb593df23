#include "kernels/cpu/simd_scalar.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* scalar_table() {
    static constexpr Table table = make_table("scalar");
    return &table;
}

}  // namespace cachalot::cpu
