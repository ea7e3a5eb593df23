#include "quant/quantizers.inl"

namespace cachalot::quant {
BlockQuantizer find_avx2(DType type) { return find(type); }
}  // namespace cachalot::quant
