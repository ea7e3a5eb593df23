// Products that read weights as fast as memory gives them, for the few rows of passes that write answers.
#pragma once

#include <span>

#include "device/cuda_device.h"
#include "kernels/primitives.h"

namespace cachalot::cuda {

inline constexpr int kMostStreamedTogether = 4;  // rows

// Whether project_streamed() can compute these: Q8_0 with activations that may be rounded to int8, or BF16
// with float32 ones; rows that the copy engine can fetch, the same number of columns in all; a card with a
// copy engine.
bool can_stream(std::span<const Projection> projections, int rows, const CudaCard& card);

// As cuda::project(), of what can_stream() says yes to.
void project_streamed(std::span<const Projection> projections, int rows, const CudaCard& card,
                      CudaStreamHandle stream);

}  // namespace cachalot::cuda
