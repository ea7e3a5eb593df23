// Every tensor of a V4 model: its GGUF name, its name in DeepSeek's releases, its shape.
//
// The one place that knows names. Binding, reading a release and converting all walk this list, which follows from the
// configuration alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace cachalot {

struct TensorSpec {
    enum class Kind : std::uint8_t {
        matrix,    // [rows, columns], multiplied with activations
        experts,   // [experts, rows, columns]; a release has one tensor for each expert
        floats,    // [rows, columns] small parameters, used as float32; [columns] if rows is 1
        integers,  // [rows, columns]
    };
    // How a conversion treats it.
    enum class Role : std::uint8_t {
        experts,     // routed experts
        dense,       // the matrices that a release stores in FP8: attention projections, shared experts
        embeddings,  // token embedding and output head
        sensitive,   // everything else: small, and kept as it is
    };
    Kind kind;
    Role role;
    std::string gguf;
    std::string release;  // of `experts`: with {} in place of the expert's number
    std::int64_t rows, columns;
    int experts = 0;
};

// In the order of the forward pass.
std::vector<TensorSpec> model_tensors(const Config& config);

// The tensor with the scales of a tensor whose name ends in ".weight", in a release or an FP8 matrix in GGUF.
std::string scale_tensor(std::string_view name);

}  // namespace cachalot
