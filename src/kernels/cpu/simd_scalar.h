// Vectors of one element: the portable fallback, and what a new vector header has to provide.
#pragma once

#include <cmath>
#include <cstring>

#include "tensor/float_formats.h"

namespace {

struct F {  // float vector
    static constexpr int kWidth = 1;
    float v;
};
inline F load(const float* p) {  // weights in a file may lie at any address
    F a;
    std::memcpy(&a.v, p, sizeof a.v);
    return a;
}
inline void store(float* p, F a) { *p = a.v; }
inline F broadcast(float x) { return {x}; }
inline F operator+(F a, F b) { return {a.v + b.v}; }
inline F operator-(F a, F b) { return {a.v - b.v}; }
inline F operator*(F a, F b) { return {a.v * b.v}; }
inline F operator/(F a, F b) { return {a.v / b.v}; }
inline F fma(F a, F b, F c) { return {a.v * b.v + c.v}; }
inline F minimum(F a, F b) { return {a.v < b.v ? a.v : b.v}; }
inline F maximum(F a, F b) { return {a.v > b.v ? a.v : b.v}; }
inline F absolute(F a) { return {std::fabs(a.v)}; }
inline F round_even(F a) { return {std::nearbyint(a.v)}; }
inline F times_pow2(F a, F n) {
    return {std::ldexp(a.v, static_cast<int>(n.v))};
}  // n integral, in [-126, 127]
inline float reduce_add(F a) { return a.v; }
inline float reduce_max(F a) { return a.v; }

// Widening loads of kWidth elements.
inline F load_f16(const std::byte* p) {
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return {cachalot::f16_to_f32(h)};
}
inline F load_bf16(const std::byte* p) {
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return {cachalot::bf16_to_f32(h)};
}
inline F load_i8(const std::int8_t* p) { return {static_cast<float>(*p)}; }
inline F load_e4m3(const std::byte* p) { return {cachalot::e4m3_to_f32(static_cast<std::uint8_t>(*p))}; }

// 32 signed bytes, and the sum of their products with 32 others as a float vector D whose lanes add up to it.
struct B32 {
    std::int8_t v[32];
};
inline B32 load_bytes(const void* p) {
    B32 b;
    std::memcpy(b.v, p, 32);
    return b;
}
inline void store_bytes(std::int8_t* p, B32 b) { std::memcpy(p, b.v, 32); }
inline std::int8_t twice_e2m1(int code) {
    constexpr std::int8_t k[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return k[code];
}
// 16 bytes of E2M1 codes -> twice their values; mxfp4: low nibbles first; pairs: low nibble = even element
inline B32 unpack_mxfp4(const std::byte* p) {
    B32 b;
    for (int i = 0; i < 16; ++i) {
        int byte = static_cast<int>(p[i]);
        b.v[i] = twice_e2m1(byte & 15);
        b.v[i + 16] = twice_e2m1(byte >> 4);
    }
    return b;
}
inline B32 unpack_pairs(const std::byte* p) {
    B32 b;
    for (int i = 0; i < 16; ++i) {
        int byte = static_cast<int>(p[i]);
        b.v[2 * i] = twice_e2m1(byte & 15);
        b.v[2 * i + 1] = twice_e2m1(byte >> 4);
    }
    return b;
}
struct D {
    float v;
};
inline D zero_d() { return {0}; }
inline D dot_scaled(B32 w, B32 x, float scale, D acc) {
    int sum = 0;
    for (int i = 0; i < 32; ++i) sum += w.v[i] * x.v[i];
    return {acc.v + static_cast<float>(sum) * scale};
}
inline float reduce_add(D a) { return a.v; }

// Rounds 32 floats times `inverse` to int8; the products are within [-127, 127].
inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    for (int i = 0; i < 32; ++i) {
        float v = std::nearbyint(x[i] * inverse);
        q[i] = static_cast<std::int8_t>(v > -127 ? (v < 127 ? v : 127) : -127);  // NaN: -127
    }
}

}  // namespace
