// Attention of the few rows of passes that write answers: the keys of a row are divided among many blocks.
#pragma once

#include "device/cuda_device.h"
#include "kernels/cuda/attend.h"

namespace cachalot::cuda {

// Whether attend_split() can compute this: states in V4's format, heads a multiple of 16, head_dim one of
// 128, a card with tensor cores for BF16, which all have.
bool can_split(const AttendCall& call);

// Parts that the keys of a row are divided into, if it has at most so many. attend_split() needs rows * heads
// * parts * (head_dim + 2) floats.
std::int64_t parts_of_keys(std::int64_t most_keys);

// As attend(). `most_keys`: of any row of the pass, or of the passes that the call stands for.
void attend_split(const AttendCall& call, std::int64_t most_keys, float* room, CudaStreamHandle stream);

}  // namespace cachalot::cuda
