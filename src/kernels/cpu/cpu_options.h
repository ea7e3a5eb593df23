// How the operations are to run on this machine's processor.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/primitives.h"

namespace cachalot {

// How matrices of 4- and 8-bit integer types are multiplied.
enum class Precision {
    exact,  // activations stay float32
    fast,   // activations are rounded to int8 per 32 values, products are summed as integers
};

struct CpuOptions {
    int threads = 0;  // 0: one per available core
    Precision precision = Precision::fast;
    // "scalar", "avx2", "avx2_vnni", "avx512", "avx512_vbmi", "avx512_bf16", "avx512_amx", "neon",
    // "neon_dotprod", "neon_i8mm"; none: the best, or $CACHALOT_ISA
    std::optional<std::string> isa;
    // Where memory is divided among nodes (base/numa.h): spread threads and new pages over them. automatic:
    // if there are several.
    enum class Numa { automatic, off, spread } numa = Numa::automatic;
};
// Throws Error for an instruction set that is unknown or that this processor lacks.
std::unique_ptr<Primitives> make_cpu_primitives(const CpuOptions& options);

}  // namespace cachalot
