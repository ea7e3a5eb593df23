// Numbers in the blocks of files, which lie at any address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/float_formats.h"

namespace cachalot {

template <class T>
static T load_unaligned(const std::byte* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

static inline float load_half(const std::byte* p) { return f16_to_f32(load_unaligned<std::uint16_t>(p)); }

}  // namespace cachalot
