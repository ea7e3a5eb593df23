// Any bytes must be a readable safetensors file or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "file/safetensors.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    volatile std::size_t sum = 0;
    try {
        const auto file = Safetensors::parse(std::as_bytes(std::span(data, size)), "fuzz");
        for (const StoredTensor& tensor : file.tensors()) {
            for (std::byte b : tensor.view.data) sum = sum + static_cast<std::size_t>(b);
            if (tensor.supported) sum = sum + static_cast<std::size_t>(file.get(tensor.view.name).elements());
        }
    } catch (const Error&) {
    }
    return 0;
}
