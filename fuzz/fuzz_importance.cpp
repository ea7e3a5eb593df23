// Any bytes must be an importance matrix or an Error.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "model/importance.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    volatile float sum = 0;
    try {
        const auto matrix =
            ImportanceMatrix::parse(Gguf::parse(std::as_bytes(std::span(data, size)), "fuzz"));
        for (const auto& [tensor, entry] : matrix.entries())
            for (std::int64_t e = 0; e < entry.experts; ++e)
                for (float v : matrix.find(tensor, e, entry.columns)) sum = sum + v;
        ImportanceMatrix twice = matrix;
        twice.merge(matrix);
    } catch (const Error&) {
    }
    return 0;
}
