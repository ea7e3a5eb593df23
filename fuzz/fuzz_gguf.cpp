// Any bytes must be a readable GGUF file or an Error; then any metadata must be a valid Config or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "file/gguf.h"
#include "model/config.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    volatile std::size_t sum = 0;
    try {
        const auto file = Gguf::parse(std::as_bytes(std::span(data, size)), "fuzz");
        for (const GgufValue& value : file.metadata().values()) sum = sum + value_text(value, 100).size();
        (void)file.metadata().find<std::uint32_t>("split.count");
        for (const StoredTensor& tensor : file.tensors()) {
            for (std::byte b : tensor.view.data) sum = sum + static_cast<std::size_t>(b);
            if (tensor.supported) sum = sum + static_cast<std::size_t>(file.get(tensor.view.name).elements());
        }
        sum = sum + static_cast<std::size_t>(config_from_gguf(file).layers);
    } catch (const Error&) {
    }
    return 0;
}
