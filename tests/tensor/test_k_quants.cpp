// Q4_K, Q2_K and IQ2_XXS: answers computed by hand from the definitions, the table of IQ2_XXS, and quantisers
// of our own that pack the same layouts from the other side.
#include "tensor/k_quants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "kernels/random_data.h"

namespace cachalot {
namespace {

using Block = std::vector<std::uint8_t>;

std::vector<float> decode(DType type, const Block& block) {
    std::vector<float> values(kSuperBlock);
    EXPECT_EQ(static_cast<std::int64_t>(block.size()), row_bytes(type, kSuperBlock));
    dequantize_row({type, 1, kSuperBlock, reinterpret_cast<const std::byte*>(block.data()),
                    static_cast<std::int64_t>(block.size())},
                   0, values);
    return values;
}

void put(Block& block, std::size_t at, std::uint16_t value) { std::memcpy(&block[at], &value, 2); }
void put(Block& block, std::size_t at, std::uint32_t value) { std::memcpy(&block[at], &value, 4); }

TEST(KQuants, Sizes) {
    EXPECT_EQ(row_bytes(DType::q4_k, 4096), 16 * 144);
    EXPECT_EQ(row_bytes(DType::q2_k, 2048), 8 * 84);
    EXPECT_EQ(row_bytes(DType::iq2_xxs, 7168), 28 * 66);
    for (DType type : {DType::q4_k, DType::q2_k, DType::iq2_xxs}) {
        EXPECT_EQ(parse_dtype(name(type)), type);
        EXPECT_THROW(row_bytes(type, 128), Error);
        EXPECT_TRUE(is_float_like(type));
    }
}

TEST(KQuants, Q4kByHand) {
    Block b(144, 0);
    put(b, 0, std::uint16_t{0x3800});  // d = 0.5
    put(b, 2, std::uint16_t{0x3400});  // dmin = 0.25
    b[4 + 0] = 0xc0 | 3;               // group 0: scale 3; upper bits of group 4's scale: 3
    b[4 + 4] = 0x40 | 8;               // group 0: minimum 8; upper bits of group 4's minimum: 1
    b[4 + 8] = 0x52;                   // group 4: scale 3 << 4 | 2 = 50, minimum 1 << 4 | 5 = 21
    b[4 + 3] = 63;                     // group 3: scale 63, minimum 0
    b[4 + 7] = 0x80;                   // group 7: minimum 2 << 4 | 15 = 47, scale 0 << 4 | 9
    b[4 + 11] = 0xf9;
    b[16 + 0] = 0xa7;            // values 0 and 32
    b[16 + 31] = 0x0f;           // value 31
    b[16 + 32 + 5] = 0xb0;       // value 64 + 32 + 5 = 101, in group 3
    b[16 + 2 * 32 + 1] = 0x0e;   // value 129, in group 4
    b[16 + 3 * 32 + 30] = 0xd0;  // value 254, in group 7
    auto v = decode(DType::q4_k, b);
    EXPECT_EQ(v[0], 7 * 3 * 0.5f - 8 * 0.25f);
    EXPECT_EQ(v[1], -2.0f);
    EXPECT_EQ(v[31], 15 * 3 * 0.5f - 2.0f);
    EXPECT_EQ(v[32], 0.0f);  // group 1 has no scale
    EXPECT_EQ(v[101], 11 * 63 * 0.5f);
    EXPECT_EQ(v[100], 0.0f);
    EXPECT_EQ(v[128], -21 * 0.25f);
    EXPECT_EQ(v[129], 14 * 50 * 0.5f - 21 * 0.25f);
    EXPECT_EQ(v[254], 13 * 9 * 0.5f - 47 * 0.25f);
    EXPECT_EQ(v[255], -47 * 0.25f);
}

TEST(KQuants, Q2kByHand) {
    Block b(84, 0);
    put(b, 80, std::uint16_t{0x3c00});  // d = 1
    put(b, 82, std::uint16_t{0x4000});  // dmin = 2
    b[0] = 0x15;                        // values 0..15: scale 5, minimum 1
    b[1] = 0x02;                        // values 16..31: scale 2
    b[6] = 0x70;                        // values 96..111: minimum 7
    b[15] = 0xff;                       // values 240..255: both 15
    b[16 + 0] = 0b11'10'01'10;          // values 0, 32, 64, 96 = 2, 1, 2, 3
    b[16 + 16] = 0b00'00'00'11;         // value 16
    b[16 + 63] = 0b01'00'00'00;         // value 128 + 96 + 31 = 255
    auto v = decode(DType::q2_k, b);
    EXPECT_EQ(v[0], 2 * 5 - 2.0f);
    EXPECT_EQ(v[1], -2.0f);
    EXPECT_EQ(v[16], 6.0f);
    EXPECT_EQ(v[32], 0.0f);
    EXPECT_EQ(v[96], -14.0f);
    EXPECT_EQ(v[254], -30.0f);
    EXPECT_EQ(v[255], 15 - 30.0f);
}

TEST(KQuants, Iq2xxsByHand) {
    Block b(66, 0);
    put(b, 0, std::uint16_t{0x4400});  // d = 4, so that a value is magnitude x (s + 1/2)
    // group 1: patterns 0, 1, 5, 255; signs 0, 1, 0b1000001, 0; s = 2
    b[10] = 0, b[11] = 1, b[12] = 5, b[13] = 255;
    put(b, 14, std::uint32_t{0u | 1u << 7 | 0b1000001u << 14 | 0u << 21 | 2u << 28});
    put(b, 62,
        std::uint32_t{15u << 28 | 127u << 21});  // group 7: s = 15, its last eight all but value 7 negative
    auto v = decode(DType::iq2_xxs, b);
    EXPECT_EQ(v[0], 4.0f);    // 8 * 0.5
    EXPECT_EQ(v[32], 20.0f);  // 8 * 2.5
    // pattern 1 is 43, 8, 8, ...; one negative sign stored, so the eighth value is negative, too
    EXPECT_EQ((std::vector(&v[40], &v[48])), (std::vector<float>{-107.5, 20, 20, 20, 20, 20, 20, -20}));
    // pattern 5 is 25, 8, 25, 8, ...; two negative signs stored
    EXPECT_EQ((std::vector(&v[48], &v[56])), (std::vector<float>{-62.5, 20, 62.5, 20, 20, 20, -20, 20}));
    // pattern 255, the last
    EXPECT_EQ((std::vector(&v[56], &v[64])),
              (std::vector<float>{20, 62.5, 20, 20, 62.5, 107.5, 107.5, 107.5}));
    EXPECT_EQ(v[248], -124.0f);
    EXPECT_EQ(v[255], -124.0f);  // seven stored: the eighth makes it even
}

TEST(KQuants, TheGridOfIq2xxs) {
    int count[3] = {};
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over the 2048 bytes
    std::set<std::uint64_t> distinct;
    for (auto pattern : kIq2xxsGrid) {
        distinct.insert(pattern);
        int digits = 0;
        for (int i = 0; i < 8; ++i) {
            auto magnitude = static_cast<int>(pattern >> (8 * i) & 255);
            int digit = magnitude == 8 ? 0 : magnitude == 25 ? 1 : 2;
            EXPECT_TRUE(digit != 2 || magnitude == 43);
            ++count[digit];
            digits += digit;
            hash = (hash ^ static_cast<std::uint64_t>(magnitude)) * 0x100000001b3;
        }
        EXPECT_EQ(digits % 2, 0);
    }
    EXPECT_EQ(distinct.size(), 256u);
    EXPECT_TRUE(std::is_sorted(kIq2xxsGrid.begin(), kIq2xxsGrid.end()));
    EXPECT_EQ(count[0], 1127);
    EXPECT_EQ(count[1], 556);
    EXPECT_EQ(count[2], 365);
    EXPECT_EQ(hash, 0xbb4ee025b5ac6e8eu);
    for (unsigned s = 0; s < 128; ++s) {
        EXPECT_EQ(__builtin_popcount(iq2xxs_signs(s)) % 2, 0);
        EXPECT_EQ(iq2xxs_signs(s) & 127u, s);
    }
}

// ---- quantisers that are naive, but pack every field

// Rounds up to a multiple of 1/levels of the largest; returns the unit as f16.
std::uint16_t unit_of(const std::vector<float>& values, int levels, std::vector<int>& multiples) {
    float largest = *std::max_element(values.begin(), values.end());
    auto unit = f32_to_f16(largest / static_cast<float>(levels) * 1.002f);
    for (float v : values)
        multiples.push_back(largest > 0 ? std::min(levels, static_cast<int>(std::ceil(v / f16_to_f32(unit))))
                                        : 0);
    return unit;
}

struct TwoLevel {  // codes with scale and minimum for each group, as both k-quants want them
    std::uint16_t d, dmin;
    std::vector<int> scale, minimum, codes;
};

TwoLevel two_level(const std::vector<float>& x, int group, int scale_levels, int code_levels) {
    TwoLevel t;
    std::vector<float> lows, steps;
    for (int g = 0; g < kSuperBlock; g += group)
        lows.push_back(-std::min(0.0f, *std::min_element(&x[g], &x[g] + group)));
    t.dmin = unit_of(lows, scale_levels, t.minimum);
    auto low = [&](int g) { return static_cast<float>(t.minimum[g]) * f16_to_f32(t.dmin); };
    for (int g = 0; g < kSuperBlock / group; ++g)
        steps.push_back((*std::max_element(&x[g * group], &x[g * group] + group) + low(g)) /
                        static_cast<float>(code_levels));
    t.d = unit_of(steps, scale_levels, t.scale);
    for (int i = 0; i < kSuperBlock; ++i) {
        float step = static_cast<float>(t.scale[i / group]) * f16_to_f32(t.d);
        t.codes.push_back(
            std::clamp(static_cast<int>(std::lround((x[i] + low(i / group)) / step)), 0, code_levels));
    }
    return t;
}

Block quantize_q4_k(const TwoLevel& t) {
    Block b(144, 0);
    put(b, 0, t.d);
    put(b, 2, t.dmin);
    for (int j = 0; j < 8; ++j)
        if (j < 4) {
            b[4 + j] |= t.scale[j];
            b[8 + j] |= t.minimum[j];
        } else {
            b[8 + j] = static_cast<std::uint8_t>((t.scale[j] & 15) | (t.minimum[j] & 15) << 4);
            b[j] |= t.scale[j] >> 4 << 6;
            b[4 + j] |= t.minimum[j] >> 4 << 6;
        }
    for (int i = 0; i < kSuperBlock; ++i) b[16 + i / 64 * 32 + i % 32] |= t.codes[i] << (i / 32 % 2 * 4);
    return b;
}

Block quantize_q2_k(const TwoLevel& t) {
    Block b(84, 0);
    for (int g = 0; g < 16; ++g) b[g] = static_cast<std::uint8_t>(t.scale[g] | t.minimum[g] << 4);
    for (int i = 0; i < kSuperBlock; ++i) b[16 + i / 128 * 32 + i % 32] |= t.codes[i] << (i / 32 % 4 * 2);
    put(b, 80, t.d);
    put(b, 82, t.dmin);
    return b;
}

TEST(KQuants, QuantisedValuesAreWithinHalfAStep) {
    test::RandomData random(7);
    for (int round = 0; round < 20; ++round) {
        auto x = random.vector(kSuperBlock);
        for (int i = 0; i < kSuperBlock; ++i) x[i] *= std::exp(static_cast<float>(i / 32) * 0.2f);
        for (bool four : {true, false}) {
            int group = four ? 32 : 16;
            auto t = two_level(x, group, four ? 63 : 15, four ? 15 : 3);
            auto y = decode(four ? DType::q4_k : DType::q2_k, four ? quantize_q4_k(t) : quantize_q2_k(t));
            for (int i = 0; i < kSuperBlock; ++i) {
                float step = static_cast<float>(t.scale[i / group]) * f16_to_f32(t.d);
                EXPECT_LE(std::fabs(x[i] - y[i]), step * 0.501f) << four << " " << i;
            }
        }
    }
}

// The best pattern, signs and scale for each eight values of a group of 32, by trying all patterns.
Block quantize_iq2_xxs(const std::vector<float>& x, std::uint16_t d) {
    Block b(66, 0);
    put(b, 0, d);
    for (int g = 0; g < 8; ++g) {
        double best_error = HUGE_VAL;
        for (std::uint32_t s = 0; s < 16; ++s) {
            float step = f16_to_f32(d) * (0.5f + static_cast<float>(s)) * 0.25f;
            double error = 0;
            std::uint32_t rest = s << 28, numbers = 0;
            for (int p = 0; p < 4; ++p) {
                const float* v = &x[g * 32 + p * 8];
                std::uint32_t signs = 0;
                for (int i = 0; i < 8; ++i) signs |= std::uint32_t{std::signbit(v[i])} << i;
                if (__builtin_popcount(signs) % 2)  // the smallest gets the wrong sign
                    signs ^=
                        1u << (std::min_element(
                                   v, v + 8, [](float a, float c) { return std::fabs(a) < std::fabs(c); }) -
                               v);
                double nearest = HUGE_VAL;
                std::uint32_t number = 0;
                for (std::uint32_t n = 0; n < 256; ++n) {
                    double distance = 0;
                    for (int i = 0; i < 8; ++i) {
                        float value = step * static_cast<float>(kIq2xxsGrid[n] >> (8 * i) & 255);
                        distance += std::pow(v[i] - (signs >> i & 1 ? -value : value), 2);
                    }
                    if (distance < nearest) nearest = distance, number = n;
                }
                error += nearest;
                numbers |= number << (8 * p);
                rest |= (signs & 127) << (7 * p);
            }
            if (error >= best_error) continue;
            best_error = error;
            put(b, static_cast<std::size_t>(2 + 8 * g), numbers);
            put(b, static_cast<std::size_t>(6 + 8 * g), rest);
        }
    }
    return b;
}

TEST(KQuants, Iq2xxsRoundTrips) {
    test::RandomData random(8);
    // Values that a block can hold come back exactly.
    Block b(66);
    for (auto& byte : b) byte = static_cast<std::uint8_t>(random.integer(0, 255));
    put(b, 0, std::uint16_t{0x2c00});
    for (std::size_t g = 0; g < 8; ++g) b[9 + 8 * g] |= 0x40;  // scales far enough apart to be unambiguous
    auto values = decode(DType::iq2_xxs, b);
    EXPECT_EQ(decode(DType::iq2_xxs, quantize_iq2_xxs(values, 0x2c00)), values);
    // Others come near: two bits a value leave about a third of a normal distribution's size.
    auto x = random.vector(kSuperBlock);
    auto y = decode(DType::iq2_xxs, quantize_iq2_xxs(x, f32_to_f16(0.03f)));
    double error = 0, size = 0;
    for (int i = 0; i < kSuperBlock; ++i) error += std::pow(x[i] - y[i], 2), size += std::pow(x[i], 2);
    EXPECT_LT(std::sqrt(error / size), 0.45);
}

}  // namespace
}  // namespace cachalot
