// Vectors of one element: the portable fallback, and what a new vector header has to provide.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/cpu/table.h"
#include "tensor/float_formats.h"

namespace {

using cachalot::cpu::Codes;

struct F {  // float vector
    static constexpr int kWidth = 1;
    static constexpr int kRegisters = 16;
    float v;
};
inline F load(const float* p) {  // weights in a file may lie at any address
    F a;
    std::memcpy(&a.v, p, 4);
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
inline F reduce_add_each(const F* a) { return *a; }  // lane i: reduce_add(a[i])
inline float reduce_max(F a) { return a.v; }

// Widening loads of kWidth elements.
inline F load_f16(const std::uint16_t* p) {
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return {cachalot::f16_to_f32(h)};
}
inline F load_bf16(const std::byte* p) {
    std::uint16_t h;
    std::memcpy(&h, p, 2);
    return {cachalot::bf16_to_f32(h)};
}
inline F load_e4m3(const std::byte* p) { return {cachalot::e4m3_to_f32(static_cast<std::uint8_t>(*p))}; }

// Four bytes of kWidth rows of weights, a row in each lane.
struct U {
    std::uint8_t v[4];
};
// Bytes [at, at + 16) of each row, four at a time.
inline void gather(const std::byte* const* rows, std::int64_t at, U (&out)[4]) {
    std::memcpy(out, rows[0] + at, 16);
}
// Bytes at + kA, at + kB, at + kC, at + kD of each row, all of [at, at + 64), which the row must have.
template <int kA, int kB, int kC, int kD>
U pick(const std::byte* const* rows, std::int64_t at) {
    auto byte = [&](int i) { return static_cast<std::uint8_t>(rows[0][at + i]); };
    return {{byte(kA), byte(kB), byte(kC), byte(kD)}};
}
// Four bytes for each lane.
inline U load_lanes(const std::uint8_t (*lanes)[4]) {
    U a;
    std::memcpy(a.v, lanes, 4);
    return a;
}
template <class Change>
U each_byte(U a, Change change) {
    for (auto& b : a.v) b = static_cast<std::uint8_t>(change(b));
    return a;
}
inline U low_nibbles(U a) {
    return each_byte(a, [](int b) { return b & 15; });
}
inline U high_nibbles(U a) {
    return each_byte(a, [](int b) { return b >> 4; });
}
inline U lookup(const std::uint8_t (&table)[16], U codes) {
    return each_byte(codes, [&](int b) { return table[b]; });
}
inline U flip_sign(U a) {
    return each_byte(a, [](int b) { return b ^ 0x80; });
}
// The eight nibbles of four bytes in the order low, high, low, high, ...
inline void interleave_nibbles(U a, U (&out)[2]) {
    for (int i = 0; i < 8; ++i)
        out[i / 4].v[i % 4] = static_cast<std::uint8_t>(i % 2 ? a.v[i / 2] >> 4 : a.v[i / 2] & 15);
}
// The eight bytes that at(row) points to, of each row: four and four.
template <class At>
void gather_eights(At at, U (&out)[2]) {
    std::memcpy(out, at(0), 8);
}
template <class Combine>
U each_pair(U a, U b, Combine combine) {
    for (int i = 0; i < 4; ++i) a.v[i] = static_cast<std::uint8_t>(combine(a.v[i], b.v[i]));
    return a;
}
inline U operator&(U a, U b) {
    return each_pair(a, b, [](int x, int y) { return x & y; });
}
inline U operator|(U a, U b) {
    return each_pair(a, b, [](int x, int y) { return x | y; });
}
inline U operator^(U a, U b) {
    return each_pair(a, b, [](int x, int y) { return x ^ y; });
}
inline U add_bytes(U a, U b) {
    return each_pair(a, b, [](int x, int y) { return x + y; });
}
inline U subtract_bytes(U a, U b) {
    return each_pair(a, b, [](int x, int y) { return x - y; });
}
// Four bytes, the first the lowest, in each lane.
inline U repeat(std::uint32_t four) {
    U a;
    std::memcpy(a.v, &four, 4);
    return a;
}
// Each lane as one number of 32 bits.
template <int kBits>
U shift_right(U a) {
    std::uint32_t x;
    std::memcpy(&x, a.v, 4);
    return repeat(x >> kBits);
}
template <int kBits>
U shift_left(U a) {
    std::uint32_t x;
    std::memcpy(&x, a.v, 4);
    return repeat(x << kBits);
}
// Byte kByte of each lane, as Sum::scale() wants it.
template <int kByte>
U factor(U a) {
    return repeat(a.v[kByte]);
}
// Byte i is 255 where bit i of nibble kNibble (0: low) of byte kByte is set, else 0.
template <int kByte, int kNibble>
U bit_masks(U a) {
    U masks;
    for (int i = 0; i < 4; ++i) masks.v[i] = a.v[kByte] >> (4 * kNibble + i) & 1 ? 255 : 0;
    return masks;
}
// Half kHalf or byte kByte of each lane as a float.
template <int kHalf>
F from_f16(U a) {
    std::uint16_t h;
    std::memcpy(&h, a.v + 2 * kHalf, 2);
    return {cachalot::f16_to_f32(h)};
}
template <int kByte>
F from_e8m0(U a) {
    return {cachalot::e8m0_to_f32(a.v[kByte])};
}
template <int kByte>
F from_byte(U a) {
    return {static_cast<float>(a.v[kByte])};
}

// The sum of (code - offset) * q over a group of 32, four columns at a time: codes and q of columns 4i .. 4i
// + 3, in the order of i, 0 .. 7. Where an instruction set can multiply two rows of activations at once,
// Sum::OfTwo does it (simd_neon.h).
constexpr bool kSignedFull = false;
template <Codes kCodes, int kOffset>
struct Sum {
    int s, total = 0;
    explicit Sum(const cachalot::cpu::Int8Group& x) : s(-kOffset * (x.pair_sums[0] + x.pair_sums[1])) {}
    void add(U codes, const std::int8_t* q, int i) {
        for (int j = 0; j < 4; ++j) s += codes.v[j] * q[4 * i + j];
    }
    void scale(U by) {
        total += s * by.v[0];
        s = 0;
    }
    F value() const { return {static_cast<float>(kCodes == Codes::scaled ? total : s)}; }
};

// Rounds 32 floats times `inverse` to int8; the products are within [-127, 127].
inline void round_to_bytes(const float* x, float inverse, std::int8_t* q) {
    for (int i = 0; i < 32; ++i) {
        float v = std::nearbyint(x[i] * inverse);
        q[i] = static_cast<std::int8_t>(v > -127 ? (v < 127 ? v : 127) : -127);  // NaN: -127
    }
}
// Of each half of 32 bytes: the sums of the bytes whose index mod 4 is 0 or 1, and 2 or 3.
inline void sum_bytes(const std::int8_t* q, std::int16_t (&sums)[2][2]) {
    std::memset(sums, 0, sizeof sums);
    for (int i = 0; i < 32; ++i)
        sums[i / 16][i / 2 % 2] = static_cast<std::int16_t>(sums[i / 16][i / 2 % 2] + q[i]);
}

// Keeps a value in a register that the compiler knows nothing about.
template <class T>
void opaque(T& value) {
    asm volatile("" : "+m"(value));
}

}  // namespace
