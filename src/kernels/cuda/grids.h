// The published tables that IQ formats take their patterns from (tensor/iq_quants.h), where a kernel can read
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cachalot::cuda {

struct Grids {
    const std::uint16_t* iq2_xxs = nullptr;  // [256] digits of 2 bits
    const std::uint16_t* iq2_xs = nullptr;   // [512]
    const std::uint16_t* iq2_s = nullptr;    // [1024]
    const std::uint16_t* iq3_xxs = nullptr;  // [256] digits of 4 bits
    const std::uint16_t* iq3_s = nullptr;    // [512]
    const std::uint16_t* iq1 = nullptr;      // [2048]
};

// All tables, one after the other, as they are copied to a card.
std::span<const std::uint16_t> grid_values();
// Where each of them is if they begin at this address.
Grids grids_at(const std::uint16_t* values);

}  // namespace cachalot::cuda
