// What this machine can do at best, measured: the floors of decode (bytes) and prefill (operations).
#pragma once

#include <optional>
#include <string>

#include "kernels/primitives.h"
#include "measure/reading_target.h"

namespace cachalot {

struct MachineLimits {
    double read_bytes_per_second = 0;  // from memory, all threads
    double float_ops_per_second = 0;   // multiplications and additions of float32 in registers, all threads
    double int8_ops_per_second = 0;    // the same of the int8 dot product that quantised weights use
};

// On the threads of `primitives`, with the loops of an instruction set (kernels/cpu/cpu_options.h). Takes
// about a second.
MachineLimits measure_limits(Primitives& primitives, const std::optional<std::string>& isa,
                             const ReadingTarget& memory);

// Bytes a second at which all threads together read this memory once.
double measure_reading(Primitives& primitives, const std::optional<std::string>& isa,
                       const ReadingTarget& memory);

}  // namespace cachalot
