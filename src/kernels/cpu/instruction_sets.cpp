#include "kernels/cpu/instruction_sets.h"

#include <array>
#include <cstdlib>

#include "base/cpu_features.h"
#include "base/error.h"

namespace cachalot::cpu {
namespace {

auto detect() {
    const CpuFeatures& has = cpu_features();
    std::array sets = {
        InstructionSet{"avx512_amx", has.avx512_amx, avx512_amx_table,
                       false},  // no faster: docs/performance.md
        InstructionSet{"avx512_bf16", has.avx512_bf16, avx512_bf16_table},
        InstructionSet{"avx512_vbmi", has.avx512_vbmi, avx512_vbmi_table},
        InstructionSet{"avx512", has.avx512_vnni, avx512_table},
        InstructionSet{"avx2_vnni", has.avx2_vnni, avx2_vnni_table},
        InstructionSet{"avx2", has.avx2, avx2_table},
        InstructionSet{"neon_i8mm", has.neon_i8mm, neon_i8mm_table},
        InstructionSet{"neon_dotprod", has.neon_dotprod, neon_dotprod_table},
        InstructionSet{"neon", has.neon, neon_table},
        InstructionSet{"scalar", true, scalar_table},
    };
    for (auto& set : sets) set.available = set.available && set.table();
    return sets;
}

}  // namespace

std::span<const InstructionSet> instruction_sets() {
    static const auto sets = detect();
    return sets;
}

const Table& choose_table(std::optional<std::string> name) {
    if (!name)
        if (const char* forced = std::getenv("CACHALOT_ISA"); forced && *forced) name = forced;
    std::string known;
    for (const auto& set : instruction_sets()) {
        known += (known.empty() ? "" : ", ") + std::string(set.name);
        if (name ? *name != set.name : !set.by_default || !set.available) continue;
        if (!set.available || (set.table == avx512_amx_table && !request_amx()))
            fail("this processor ({}), its system or this build has no {}", cpu_features().name, set.name);
        return *set.table();
    }
    fail("unknown instruction set '{}' (known: {})", *name, known);
}

}  // namespace cachalot::cpu
