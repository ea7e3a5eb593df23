// The choice of experts.
#pragma once

#include <cstdint>

#include "device/cuda_device.h"
#include "kernels/primitives.h"

namespace cachalot::cuda {

inline constexpr int kMostExperts = 1024;  // of a layer
inline constexpr int kMostChoices = 32;    // of a row

// kernels/primitives.h, RouteCall; addresses of the card. NaN is never chosen before a number, and of equal
// scores the expert with the lower number is.
void route(const cachalot::RouteCall& call, CudaStreamHandle stream);

}  // namespace cachalot::cuda
