// Products of matrices of any type with rows of activations.
#pragma once

#include <span>

#include "device/cuda_device.h"
#include "kernels/cuda/grids.h"
#include "kernels/primitives.h"

namespace cachalot::cuda {

// y[row, 0..w.rows) = w x[row] for each projection, in one launch; at most kMostProjections. Activations stay
// float32. Columns are a multiple of 32; addresses are of the card, the Projections and the Matrices that
// they name are of the host.
inline constexpr std::size_t kMostProjections = 16;
void project(std::span<const Projection> projections, int rows, const Grids& grids, CudaStreamHandle stream);

}  // namespace cachalot::cuda
