// GGUF's formats of 1.6 to 3.4 bits: IQ1_S, IQ1_M, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S (IQ2_XXS is in k_quants.h,
// since it has fast kernels). dtype.h draws the layouts.
//
// All work like IQ2_XXS: four or eight values at a time are one of a few hundred patterns, which a published
// table lists. Here a pattern is 16 bits: eight digits of two bits, or four of four, the first value lowest.
//
//   grid      patterns   digits stand for
//   IQ2_XS    512 of 8   magnitudes 8, 25, 43
//   IQ2_S     1024 of 8  the same
//   IQ3_XXS   256 of 4   magnitudes 4, 12, 20, 28, 36, 44, 52, 62
//   IQ3_S     512 of 4   magnitudes 1, 3, 5, ... 15
//   IQ1       2048 of 8  -1, 0, 1: signs are part of the pattern; a group of values is shifted by 1/8 or -1/8
//             as a whole
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cachalot {

extern const std::array<std::uint16_t, 512> kIq2xsGrid;
extern const std::array<std::uint16_t, 1024> kIq2sGrid;
extern const std::array<std::uint16_t, 256> kIq3xxsGrid;
extern const std::array<std::uint16_t, 512> kIq3sGrid;
extern const std::array<std::uint16_t, 2048> kIq1Grid;

inline constexpr std::array<std::uint8_t, 4> kIq2Magnitudes = {8, 25, 43, 0};
inline constexpr std::array<std::uint8_t, 8> kIq3xxsMagnitudes = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr std::array<std::uint8_t, 8> kIq3sMagnitudes = {1, 3, 5, 7, 9, 11, 13, 15};

// One block to 256 floats, rounded as ggml rounds.
void dequantize_iq2_xs(const std::byte* block, float* out);
void dequantize_iq2_s(const std::byte* block, float* out);
void dequantize_iq3_xxs(const std::byte* block, float* out);
void dequantize_iq3_s(const std::byte* block, float* out);
void dequantize_iq1_s(const std::byte* block, float* out);
void dequantize_iq1_m(const std::byte* block, float* out);

}  // namespace cachalot
