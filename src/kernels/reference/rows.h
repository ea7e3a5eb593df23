// Scalar encoding and decoding of cached rows (formats: kernels/views.h). Shared by reference and CPU where
// it is not hot.
#pragma once

#include "kernels/views.h"

namespace cachalot {

// values: format.size floats. The rounding is that of DeepSeek's inference code: a power-of-two scale per
// group, chosen from the bits of max|x| / largest, with a floor under max|x| (architecture of V4, act_quant /
// fp4_act_quant).
void encode_row(const RowFormat& format, const float* values, std::byte* row);
void decode_row(const RowFormat& format, const std::byte* row, float* values);

// In-place Sylvester-Hadamard transform of n (a power of two) values, scaled by n^-1/2 so that it keeps
// lengths.
void hadamard(float* x, int n);

// Rounds n values in place as encode_row(fp4_key) followed by decode_row would.
void round_fp4(float* x, int n);

}  // namespace cachalot
