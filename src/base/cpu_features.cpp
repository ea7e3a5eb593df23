#include "base/cpu_features.h"

#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cachalot {
namespace {

#if defined(__APPLE__)
std::string processor_name() {
    char name[256];
    std::size_t size = sizeof name;
    if (::sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) != 0) return "unknown processor";
    return name;
}
#else
std::string processor_name() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.rfind("model name", 0) == 0) {
            auto colon = line.find(": ");
            return colon == std::string::npos ? std::string() : line.substr(colon + 2);
        }
    }
    return "unknown processor";
}
#endif

#if defined(__x86_64__)
// Names that clang 14 does not know in __builtin_cpu_supports.
bool has_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}
bool has_avx512_bf16() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)) != 0;
}
bool has_gfni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 8)) != 0;
}
bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)) != 0;
}
#elif defined(__aarch64__) && defined(__APPLE__)
bool has_feature(const char* name) {
    int value = 0;
    std::size_t size = sizeof value;
    return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

#if defined(__x86_64__)
bool has_amx_int8() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (1u << 24)) && (d & (1u << 25));
}
#endif

CpuFeatures detect() {
    CpuFeatures f;
    f.name = processor_name();
#if defined(__x86_64__)
    __builtin_cpu_init();
    f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    f.avx2_vnni = f.avx2 && has_avx_vnni();
    f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    f.avx512_vbmi = f.avx512_vnni && __builtin_cpu_supports("avx512vbmi") && has_gfni();
    f.avx512_bf16 = f.avx512_vbmi && has_avx512_bf16();
    f.avx512_amx = f.avx512_vbmi && has_amx_int8();
#elif defined(__aarch64__) && defined(__linux__)
    f.neon = (::getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0;
    f.neon_dotprod = f.neon && (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    f.neon_i8mm = f.neon_dotprod && (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0 &&
                  (::getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
    f.neon = true;
    f.neon_dotprod = has_feature("hw.optional.arm.FEAT_DotProd");
    f.neon_i8mm = f.neon_dotprod && has_feature("hw.optional.arm.FEAT_I8MM") &&
                  has_feature("hw.optional.arm.FEAT_BF16");
#endif
    return f;
}

}  // namespace

const CpuFeatures& cpu_features() {
    static const CpuFeatures features = detect();
    return features;
}

bool request_amx() {
#if defined(__x86_64__) && defined(__linux__)
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return cpu_features().avx512_amx && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
}

}  // namespace cachalot
