// JSON numbers between bounds.
#pragma once

#include <cstdint>
#include <optional>

#include "grammar/builder.h"
#include "grammar/json_decimal.h"

namespace cachalot::grammar {

struct Bound {
    Decimal value;
    bool exclusive = false;
};

struct NumberRange {
    std::optional<Bound> low, high;
    // The number times 10^scale is an integer and a multiple of this; 0: no such condition.
    std::uint64_t multiple = 0;
    std::uint32_t scale = 0;
    bool integer = false;
};

// The largest `multiple`: the automaton has states for all remainders.
inline constexpr std::uint64_t kMostMultiple = 1000;

// Writes nothing if no number fits.
void write_number(Builder& builder, NodeId from, NodeId to, const NumberRange& range);

}  // namespace cachalot::grammar
