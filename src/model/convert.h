// Writing a model as one GGUF file.
//
// By default nothing is lost: FP4 experts are repacked into MXFP4 bit for bit, FP8 matrices become BF16, which holds
// every value of E4M3 times a power of two, everything else stays as it is (small vectors as F32). Chosen types apply
// to a class of tensors; the sensitive ones (router, compressors, hyper-connections, norms) are never reduced.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "model/checkpoint.h"

namespace cachalot {

struct ConvertOptions {
    // f32, f16, bf16, q8_0 or mxfp4; none: lossless
    std::optional<DType> experts, dense, embeddings;
    int threads = 0;  // 0: one per available core
};

struct ConvertSummary {
    std::uint64_t bytes = 0;  // size of the file
    int tensors = 0;
    int changed = 0;  // tensors whose values were rounded
};

using ConvertProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Streams the model through a few megabytes of memory. The file appears under its name only when it is complete.
// Throws Error naming file and tensor.
ConvertSummary convert(const Checkpoint& checkpoint, const std::filesystem::path& output,
                       const ConvertOptions& options, const ConvertProgress& progress = {});

}  // namespace cachalot
