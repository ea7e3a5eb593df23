// Kernels that show what a card can do at best.
#pragma once

#include <cstddef>

#include "device/cuda_device.h"

namespace cachalot::bench {

// Starts so many blocks of 256 threads, which do nothing.
void nothing(int blocks, CudaStreamHandle stream);

// Reads all bytes, a multiple of 16; `out` has room for four.
void read(const std::byte* from, std::size_t bytes, std::byte* out, int multiprocessors,
          CudaStreamHandle stream);

}  // namespace cachalot::bench
