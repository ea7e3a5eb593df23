// The sets of instructions that there are kernels for.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "kernels/cpu/table.h"

namespace cachalot::cpu {

struct InstructionSet {
    const char* name;         // as in CACHALOT_ISA
    bool available;           // this processor has it and this build kernels for it
    const Table* (*table)();  // null if the build has none
    bool by_default = true;   // false: only when asked for
};

// All that are known, best first; the last one is always available.
std::span<const InstructionSet> instruction_sets();

// The kernels of the set of that name, or of $CACHALOT_ISA, or of the best one. Throws Error for a set that
// is unknown or that this processor lacks.
const Table& choose_table(std::optional<std::string> name);

}  // namespace cachalot::cpu
