// What the processor we run on can do, found at run time. One binary serves every x86-64 and Arm machine.
#pragma once

#include <string>

namespace cachalot {

struct CpuFeatures {
    bool avx2 = false;          // AVX2 + FMA + F16C
    bool avx2_vnni = false;     // AVX2 and AVX-VNNI: int8 dot products of 256 bits
    bool avx512 = false;        // F, BW, DQ, VL
    bool avx512_vnni = false;   // int8 dot products
    bool avx512_vbmi = false;   // VNNI, VBMI, GFNI: bytes and bits anywhere in a register by one instruction
    bool avx512_bf16 = false;   // VBMI and dot products of bfloat16
    bool avx512_amx = false;    // VBMI and AMX-INT8; request_amx() before use
    bool neon = false;          // of every 64-bit Arm processor
    bool neon_dotprod = false;  // int8 dot products
    bool neon_i8mm = false;     // and products of int8 matrices of 2x8, and of bfloat16 (Armv8.6 has both)
    std::string name;           // marketing name, for reports
};

// Detected once; the operating system's support for the wide registers is taken into account.
const CpuFeatures& cpu_features();

// AMX keeps 8 KiB of state for each thread, which Linux gives to a process that asks for it; to be called
// before AMX is used. False if it cannot be had.
bool request_amx();

}  // namespace cachalot
