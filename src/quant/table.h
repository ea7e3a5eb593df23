// The quantisers of one instruction set.
#pragma once

#include <cstddef>

#include "tensor/dtype.h"

namespace cachalot::quant {

// One block: as many values and weights as it has elements, into as many bytes as it has. Values are finite.
using BlockQuantizer = void (*)(const float* x, const float* w, std::byte* out);

// Null for a type without a quantiser here.
using FindQuantizer = BlockQuantizer (*)(DType type);

BlockQuantizer find_generic(DType type);
BlockQuantizer find_avx2(DType type);  // where it is compiled in

}  // namespace cachalot::quant
