#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && defined(__AVXVNNI__)
#include "kernels/cpu/simd_avx2.h"

#include "kernels/cpu/kernels.inl"

namespace cachalot::cpu {

const Table* avx2_vnni_table() {
    static constexpr Table table = make_table("avx2_vnni");
    return &table;
}

}  // namespace cachalot::cpu
#else
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

const Table* avx2_vnni_table() { return nullptr; }

}  // namespace cachalot::cpu
#endif
