// In the place of cuda_device.cpp where the program is built without CUDA.
#include "base/error.h"
#include "device/cuda_device.h"

namespace cachalot {

namespace {

constexpr const char* kProblem =
    "this program was built without CUDA; to use a card of NVIDIA, build it with -DCACHALOT_CUDA=ON";

}  // namespace

bool built_with_cuda() { return false; }

CudaCards cuda_cards() { return {{}, kProblem}; }

std::shared_ptr<Device> make_cuda_device(int index) { fail("cuda:{}: {}", index, kProblem); }

const CudaCard* card_of(const Device& /*device*/) { return nullptr; }

CudaStreamHandle cuda_handle(Stream& /*stream*/) { CACHALOT_CHECK(!"a program with CUDA"); }

}  // namespace cachalot
