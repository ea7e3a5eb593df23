// All quantisers, once for each instruction set: everything here has internal linkage, so that no copy can be
// run on a processor that it was not compiled for.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/table.h"
#include "tensor/float_formats.h"
#include "tensor/iq_quants.h"
#include "tensor/k_quants.h"

namespace cachalot::quant {
namespace {

// In this order.
#include "quant/lanes.inl"

#include "quant/uniform.inl"

#include "quant/k_quants.inl"
#include "quant/patterns.inl"

BlockQuantizer find(DType type) {
    switch (type) {
        case DType::q8_0: return quantize_q8_0;
        case DType::q4_0: return quantize_q4_0;
        case DType::q4_1: return quantize_q4_1;
        case DType::q5_0: return quantize_q5_0;
        case DType::q5_1: return quantize_q5_1;
        case DType::mxfp4: return quantize_mxfp4;
        case DType::q2_k: return quantize_q2_k;
        case DType::q3_k: return quantize_q3_k;
        case DType::q4_k: return quantize_q4_k;
        case DType::q5_k: return quantize_q5_k;
        case DType::q6_k: return quantize_q6_k;
        case DType::iq2_xxs: return quantize_iq2_xxs;
        case DType::iq3_xxs: return quantize_iq3_xxs;
        default: return nullptr;
    }
}

}  // namespace
}  // namespace cachalot::quant
