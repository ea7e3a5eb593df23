// A named, typed, shaped view of bytes that somebody else owns (a mapped file or a buffer).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace cachalot {

struct TensorView {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;  // outermost first, the last dimension is contiguous: [out, in]
    std::span<const std::byte> data;  // exactly the tensor's bytes

    std::int64_t elements() const {
        std::int64_t n = 1;
        for (auto d : shape) n *= d;  // the readers have checked that this fits
        return n;
    }
};

}  // namespace cachalot
