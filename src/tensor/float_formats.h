// Scalar conversions between float32 and the small formats, all exact or round-to-nearest-even.
//
//   bf16   s eeeeeeee mmmmmmm          the upper half of a float32
//   f16    s eeeee mmmmmmmmmm          IEEE half
//   E4M3   s eeee mmm                  bias 7, no infinities, 0x7f and 0xff are NaN, largest value 448
//   E8M0   eeeeeeee                    2^(e-127), 0xff is NaN
//   E2M1   s ee m                      {0, .5, 1, 1.5, 2, 3, 4, 6}
//
// The functions are static on purpose: the kernels of each instruction set include this file, and one shared
// inline copy might be the one compiled for a processor we do not run on.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/device_function.h"

namespace cachalot {

static inline CACHALOT_BOTH float bf16_to_f32(std::uint16_t h) {
    return std::bit_cast<float>(std::uint32_t(h) << 16);
}

static inline CACHALOT_BOTH std::uint16_t f32_to_bf16(float f) {
    auto bits = std::bit_cast<std::uint32_t>(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return static_cast<std::uint16_t>((bits >> 16) | 0x40);  // keep NaN
    bits += 0x7fff + ((bits >> 16) & 1);
    return static_cast<std::uint16_t>(bits >> 16);
}

static inline CACHALOT_BOTH float round_to_bf16(float f) { return bf16_to_f32(f32_to_bf16(f)); }

static inline CACHALOT_BOTH float f16_to_f32(std::uint16_t h) {
    std::uint32_t sign = std::uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
        float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

static inline CACHALOT_BOTH std::uint16_t f32_to_f16(float f) {
    auto bits = std::bit_cast<std::uint32_t>(f);
    auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7e00;
    if (bits >= 0x477ff000u) return sign | 0x7c00;  // rounds beyond 65504
    if (bits < 0x38800000u) {                       // subnormal: let the FPU round to a multiple of 2^-24
        float scaled = std::bit_cast<float>(bits) * 0x1p24f;
        return sign | static_cast<std::uint16_t>(std::nearbyint(scaled));
    }
    bits += 0xfff + ((bits >> 13) & 1);
    return sign | static_cast<std::uint16_t>((bits >> 13) - (112u << 10));
}

static inline CACHALOT_BOTH float e8m0_to_f32(std::uint8_t e) {
    if (e == 0xff) return std::numeric_limits<float>::quiet_NaN();
    return e == 0 ? 0x1p-127f : std::bit_cast<float>(std::uint32_t(e) << 23);
}

static inline CACHALOT_BOTH float e4m3_to_f32(std::uint8_t b) {
    if ((b & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
    // The exponent field lands 120 below its place; the multiplication puts it right for subnormals, too.
    float magnitude = std::bit_cast<float>(std::uint32_t(b & 0x7f) << 20) * 0x1p120f;
    return (b & 0x80) ? -magnitude : magnitude;
}

// Saturates at +-448. NaN gives 0x7f.
static inline CACHALOT_BOTH std::uint8_t f32_to_e4m3(float f) {
    auto bits = std::bit_cast<std::uint32_t>(f);
    auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return 0x7f;
    if (bits >= 0x43e00000u) return sign | 0x7e;  // 448 and above
    if (bits < 0x3c800000u) {                     // below 2^-6: a multiple of 2^-9
        float scaled = std::bit_cast<float>(bits) * 0x1p9f;
        return sign | static_cast<std::uint8_t>(std::nearbyint(scaled));
    }
    bits += 0x7ffff + ((bits >> 20) & 1);
    return sign | static_cast<std::uint8_t>((bits >> 20) - (120u << 3));
}

inline constexpr float kE2m1[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

static inline CACHALOT_BOTH float e2m1_to_f32(std::uint8_t code) {
#ifdef __CUDA_ARCH__  // no table; the product puts the exponent right, of the subnormal value, too
    const float magnitude = std::bit_cast<float>(std::uint32_t(code & 7) << 22) * 0x1p126f;
#else
    const float magnitude = kE2m1[code & 7];
#endif
    return (code & 8) ? -magnitude : magnitude;
}

// Nearest code, ties to the even one, saturating at +-6.
static inline CACHALOT_BOTH std::uint8_t f32_to_e2m1(float f) {
    float a = std::fabs(f);
    std::uint8_t code;
    if (a <= 0.25f)
        code = 0;
    else if (a < 0.75f)
        code = 1;
    else if (a <= 1.25f)
        code = 2;
    else if (a < 1.75f)
        code = 3;
    else if (a <= 2.5f)
        code = 4;
    else if (a < 3.5f)
        code = 5;
    else if (a <= 5.0f)
        code = 6;
    else
        code = 7;
    return std::signbit(f) && code ? code | 8 : code;
}

// The exponent e of the smallest power of two 2^e >= v, for normal v > 0. Taken from the bits: ceil(log2f())
// is wrong next to powers of two.
static inline CACHALOT_BOTH int ceil_log2(float v) {
    auto bits = std::bit_cast<std::uint32_t>(v);
    return static_cast<int>((bits >> 23) & 255) - 127 + ((bits & 0x7fffff) != 0);
}

// 2^e as a float for -126 <= e <= 127.
static inline CACHALOT_BOTH float exp2i(int e) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(e + 127) << 23);
}

}  // namespace cachalot
