// GGUF's formats with blocks of 256 values: Q2_K to Q6_K and IQ2_XXS. dtype.h draws the layouts.
//
// The k-quants are two levels of plain quantisation: the scales and minimums of small groups are themselves
// rounded to 4 to 8 bits. IQ2_XXS spends 2.06 bits on a value: eight magnitudes at a time are one of 256
// patterns (kIq2xxsGrid), and of their eight signs seven are stored, the eighth makes the number of negative
// ones even.
//
// The helpers are static for the same reason as in float_formats.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cachalot {

inline constexpr int kSuperBlock = 256;  // values in a block

// Pattern p: byte i (from the lowest) is the magnitude of value i, 8, 25 or 43.
extern const std::array<std::uint64_t, 256> kIq2xxsGrid;
// The same with two bits for each value, 0, 1 or 2, the first value lowest.
extern const std::array<std::uint16_t, 256> kIq2xxsDigits;
// The same, of the first and of the last four values.
struct alignas(64) Iq2xxsQuads {
    std::uint8_t low[256], high[256];
};
extern const Iq2xxsQuads kIq2xxsQuads;

// The signs of eight values, bit i set: value i is negative. `stored`: the seven bits of the file.
static inline std::uint8_t iq2xxs_signs(std::uint32_t stored) {
    return static_cast<std::uint8_t>(stored | (__builtin_popcount(stored) % 2 ? 0x80u : 0u));
}

// Scale and minimum of group j of 8 of a Q4_K block. Of the twelve bytes, 0..3 hold scales 0..3 and 4..7
// minimums 0..3 in their low six bits; 8..11 hold the low nibbles of scales and minimums 4..7, whose high two
// bits are the top bits of bytes 0..3 and 4..7.
struct Q4kGroup {
    int scale, minimum;
};
static inline Q4kGroup q4k_group(const std::byte* packed, int j) {
    auto byte = [&](int i) { return static_cast<int>(packed[i]); };
    if (j < 4) return {byte(j) & 63, byte(j + 4) & 63};
    return {(byte(j + 4) & 15) | (byte(j - 4) >> 6 << 4), (byte(j + 4) >> 4) | (byte(j) >> 6 << 4)};
}

// One block to 256 floats, rounded as ggml rounds: (d * scale) * q - (dmin * minimum).
void dequantize_q4_k(const std::byte* block, float* out);
void dequantize_q5_k(const std::byte* block, float* out);
void dequantize_q2_k(const std::byte* block, float* out);
// (d * scale) * q
void dequantize_q3_k(const std::byte* block, float* out);
void dequantize_q6_k(const std::byte* block, float* out);
void dequantize_iq2_xxs(const std::byte* block, float* out);

}  // namespace cachalot
