// GGUF's quantised formats without kernels of their own: correct everywhere, fast nowhere. dtype.h draws the
// layouts.
//
// Q4_0, Q4_1, Q5_0 and Q5_1 are the oldest: a block of 32 values with a scale, and where the name ends in 1 a
// minimum, too. The IQ4 formats have 16 levels that are denser around zero instead of evenly spaced ones.
#pragma once

#include <cstddef>

namespace cachalot {

// One block of 32 values, IQ4_XS one of 256, to floats, rounded as ggml rounds: scale * q + minimum.
void dequantize_q4_0(const std::byte* block, float* out);
void dequantize_q4_1(const std::byte* block, float* out);
void dequantize_q5_0(const std::byte* block, float* out);
void dequantize_q5_1(const std::byte* block, float* out);
void dequantize_iq4_nl(const std::byte* block, float* out);
void dequantize_iq4_xs(const std::byte* block, float* out);

}  // namespace cachalot
