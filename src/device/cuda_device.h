// A graphics card of NVIDIA as a device. The headers of CUDA are not needed to include this one.
//
// A program that was built without CUDA has no cards, and one that was built with it starts on machines
// without a driver, too: there it has none either, and can say why.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"

struct CUstream_st;

namespace cachalot {

using CudaStreamHandle = CUstream_st*;  // CUDA's cudaStream_t

struct CudaCard {
    int index = 0;  // N of --device cuda:N
    std::string name;
    std::uint64_t memory = 0;  // bytes
    int compute = 0;           // 90: compute capability 9.0
    int multiprocessors = 0;
};

struct CudaCards {
    std::vector<CudaCard> cards;
    std::string problem;  // why there are none; empty if there are
};

// Whether this program was built with CUDA.
bool built_with_cuda();

CudaCards cuda_cards();

// Memory and streams of a card. Work that is given to its streams with run() is done by the host, in the
// stream's order; kernels are given to the handle. Throws Error if there is no such card, or if the card is
// older than the kernels.
std::shared_ptr<Device> make_cuda_device(int index);

// The card of a device; null if the device is none. Lives as long as the device.
const CudaCard* card_of(const Device& device);

// For kernels; of a stream of a card.
CudaStreamHandle cuda_handle(Stream& stream);

}  // namespace cachalot
