#include "quant/quantizers.inl"

namespace cachalot::quant {
BlockQuantizer find_generic(DType type) { return find(type); }
}  // namespace cachalot::quant
