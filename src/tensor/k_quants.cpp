#include "tensor/k_quants.h"

#include <array>
#include <cstring>

#include "tensor/unaligned.h"

namespace cachalot {
namespace {

// The patterns of IQ2_XXS, a fact of the format: each is a number of eight digits in base 3, the lowest digit
// for the first value; digits 0, 1, 2 stand for the magnitudes 8, 25, 43 (about 1 : 3 : 5). Only even numbers
// occur, which are those whose digits have an even sum: any two differ by two steps or more.
// clang-format off
constexpr std::uint16_t kPatterns[256] = {
       0,    2,    4,    6,    8,   10,   12,   18,   20,   24,   26,   28,   30,   36,   42,   46,
      48,   54,   56,   62,   74,   82,   84,   90,   94,  108,  138,  150,  162,  164,  182,  218,
     244,  246,  252,  262,  264,  270,  272,  276,  288,  298,  300,  306,  318,  324,  326,  330,
     342,  356,  376,  378,  388,  412,  414,  432,  462,  480,  486,  490,  492,  498,  510,  514,
     516,  522,  524,  546,  570,  594,  650,  660,  730,  732,  738,  748,  756,  774,  786,  792,
     796,  810,  816,  828,  846,  854,  864,  912,  922,  972,  978,  990,  994, 1006, 1026, 1068,
    1100, 1134, 1148, 1216, 1218, 1224, 1242, 1270, 1296, 1300, 1368, 1414, 1458, 1460, 1466, 1488,
    1504, 1512, 1514, 1564, 1572, 1620, 1622, 1702, 1704, 1710, 1728, 1742, 1782, 1810, 1830, 1926,
    1950, 1962, 2010, 2136, 2188, 2190, 2196, 2202, 2206, 2208, 2214, 2220, 2228, 2232, 2242, 2244,
    2250, 2268, 2286, 2314, 2322, 2326, 2350, 2358, 2382, 2390, 2400, 2430, 2436, 2448, 2484, 2500,
    2522, 2532, 2592, 2674, 2676, 2682, 2700, 2704, 2754, 2796, 2800, 2810, 2866, 2898, 2916, 2922,
    2926, 2932, 2934, 2970, 2976, 3000, 3026, 3072, 3142, 3222, 3224, 3248, 3322, 3360, 3402, 3412,
    3418, 3450, 3510, 3570, 3648, 3654, 3672, 3696, 3726, 3766, 3822, 3852, 3888, 3892, 3978, 3980,
    4026, 4160, 4374, 4376, 4382, 4402, 4430, 4458, 4470, 4482, 4546, 4618, 4620, 4626, 4630, 4644,
    4662, 4698, 4730, 4764, 4786, 4806, 4824, 4862, 4944, 5032, 5106, 5112, 5124, 5130, 5176, 5198,
    5238, 5296, 5346, 5366, 5376, 5464, 5644, 5688, 5834, 5868, 5890, 5920, 5994, 6090, 6354, 6402,
};
// clang-format on

// values[digit] for each digit of each pattern, kBits wide.
template <class Entry, int kBits>
constexpr std::array<Entry, 256> expand_patterns(const std::array<Entry, 3>& values) {
    std::array<Entry, 256> grid{};
    for (std::size_t p = 0; p < grid.size(); ++p) {
        unsigned digits = kPatterns[p];
        for (int i = 0; i < 8; ++i, digits /= 3)
            grid[p] = static_cast<Entry>(grid[p] | values[digits % 3] << (kBits * i));
    }
    return grid;
}

}  // namespace

constinit const std::array<std::uint64_t, 256> kIq2xxsGrid = expand_patterns<std::uint64_t, 8>({8, 25, 43});
constinit const std::array<std::uint16_t, 256> kIq2xxsDigits = expand_patterns<std::uint16_t, 2>({0, 1, 2});
constinit const Iq2xxsQuads kIq2xxsQuads = [] {
    constexpr auto kDigits = expand_patterns<std::uint16_t, 2>({0, 1, 2});
    Iq2xxsQuads quads{};
    for (std::size_t p = 0; p < kDigits.size(); ++p) {
        quads.low[p] = static_cast<std::uint8_t>(kDigits[p] & 0xff);
        quads.high[p] = static_cast<std::uint8_t>(kDigits[p] >> 8);
    }
    return quads;
}();

void dequantize_q4_k(const std::byte* block, float* out) {
    const float d = load_half(block), dmin = load_half(block + 2);
    const std::byte* codes = block + 16;
    for (int j = 0; j < 8; ++j) {
        auto [scale, minimum] = q4k_group(block + 4, j);
        const float step = d * static_cast<float>(scale), low = dmin * static_cast<float>(minimum);
        const std::byte* piece = codes + j / 2 * 32;
        for (int i = 0; i < 32; ++i) {
            int q = static_cast<int>(piece[i] >> (j % 2 * 4)) & 15;
            *out++ = step * static_cast<float>(q) - low;
        }
    }
}

void dequantize_q2_k(const std::byte* block, float* out) {
    const float d = load_half(block + 80), dmin = load_half(block + 82);
    for (int g = 0; g < 16; ++g) {
        auto packed = static_cast<int>(block[g]);
        const float step = d * static_cast<float>(packed & 15), low = dmin * static_cast<float>(packed >> 4);
        const std::byte* codes = block + 16 + g / 8 * 32 + g % 2 * 16;
        for (int i = 0; i < 16; ++i) {
            int q = static_cast<int>(codes[i] >> (g % 8 / 2 * 2)) & 3;
            *out++ = step * static_cast<float>(q) - low;
        }
    }
}

void dequantize_q5_k(const std::byte* block, float* out) {
    const float d = load_half(block), dmin = load_half(block + 2);
    const std::byte *fifth = block + 16, *codes = block + 48;
    for (int j = 0; j < 8; ++j) {
        auto [scale, minimum] = q4k_group(block + 4, j);
        const float step = d * static_cast<float>(scale), low = dmin * static_cast<float>(minimum);
        const std::byte* piece = codes + j / 2 * 32;
        for (int i = 0; i < 32; ++i) {
            const int q =
                (static_cast<int>(piece[i]) >> (j % 2 * 4) & 15) | (static_cast<int>(fifth[i]) >> j & 1) << 4;
            *out++ = step * static_cast<float>(q) - low;
        }
    }
}

void dequantize_q3_k(const std::byte* block, float* out) {
    const std::byte *third = block, *codes = block + 32, *scales = block + 96;
    const float d = load_half(block + 108);
    for (int g = 0; g < 16; ++g) {
        // Low nibbles of scales 0..7 and 8..15 in the first 8 bytes, the high two bits in the other four.
        const int low = static_cast<int>(scales[g % 8]) >> (g / 8 * 4) & 15;
        const int high = static_cast<int>(scales[8 + g % 4]) >> (g / 4 * 2) & 3;
        const float step = d * static_cast<float>((low | high << 4) - 32);
        const int j = g / 2, column = g % 2 * 16;  // 32 values of which the group is a half
        for (int i = column; i < column + 16; ++i) {
            const int q = (static_cast<int>(codes[j / 4 * 32 + i]) >> (j % 4 * 2) & 3) |
                          (static_cast<int>(third[i]) >> j & 1) << 2;
            *out++ = step * static_cast<float>(q - 4);
        }
    }
}

void dequantize_q6_k(const std::byte* block, float* out) {
    const std::byte *nibbles = block, *pairs = block + 128, *scales = block + 192;
    const float d = load_half(block + 208);
    for (int i = 0; i < kSuperBlock; ++i) {
        const int h = i / 128, p = i % 128 / 32;  // half, quarter of it
        const int low = static_cast<int>(nibbles[64 * h + 32 * (p % 2) + i % 32]) >> (p / 2 * 4) & 15;
        const int high = static_cast<int>(pairs[32 * h + i % 32]) >> (2 * p) & 3;
        const float step = d * static_cast<float>(static_cast<std::int8_t>(scales[i / 16]));
        *out++ = step * static_cast<float>((low | high << 4) - 32);
    }
}

void dequantize_iq2_xxs(const std::byte* block, float* out) {
    const float d = load_half(block);
    for (const std::byte* group = block + 2; group != block + 66; group += 8) {
        std::uint32_t rest;
        std::memcpy(&rest, group + 4, sizeof rest);
        const float step = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
        for (int p = 0; p < 4; ++p) {
            std::uint64_t pattern = kIq2xxsGrid[static_cast<std::uint8_t>(group[p])];
            unsigned signs = iq2xxs_signs(rest >> (7 * p) & 127);
            for (int i = 0; i < 8; ++i) {
                float magnitude = step * static_cast<float>(pattern >> (8 * i) & 255);
                *out++ = signs >> i & 1 ? -magnitude : magnitude;
            }
        }
    }
}

}  // namespace cachalot
