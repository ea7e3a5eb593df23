// The small float formats against their definitions, exhaustively where possible.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tensor/float_formats.h"

namespace cachalot {
namespace {

// Nearest of all finite values of a format; of two equally near, the one with the even code.
template <class Decode>
float nearest(float x, int codes, Decode decode) {
    int best = -1;
    double distance = INFINITY;
    for (int c = 0; c < codes; ++c) {
        float v = decode(c);
        if (!std::isfinite(v)) continue;
        double d = std::fabs(static_cast<double>(v) - x);
        if (d < distance || (d == distance && c % 2 == 0)) best = c, distance = d;
    }
    return decode(best);
}

TEST(FloatFormats, E4m3DecodesByItsDefinition) {
    EXPECT_EQ(e4m3_to_f32(0x7e), 448.0f);
    EXPECT_EQ(e4m3_to_f32(0x01), 0x1p-9f);
    EXPECT_EQ(e4m3_to_f32(0xb8), -1.0f);
    EXPECT_TRUE(std::isnan(e4m3_to_f32(0x7f)));
    for (int b = 0; b < 128; ++b) {
        if (b == 0x7f) continue;
        int e = b >> 3, m = b & 7;
        float v = e ? std::ldexp(1.0f + m / 8.0f, e - 7) : std::ldexp(m / 8.0f, -6);
        EXPECT_EQ(e4m3_to_f32(static_cast<std::uint8_t>(b)), v);
        EXPECT_EQ(e4m3_to_f32(static_cast<std::uint8_t>(b | 128)), -v);
        EXPECT_EQ(f32_to_e4m3(v), b);
    }
}

TEST(FloatFormats, E4m3AndE2m1RoundToNearestEven) {
    std::mt19937 engine(1);
    std::uniform_real_distribution<float> exponent(-12, 10), sign(-1, 1);
    for (int i = 0; i < 5000; ++i) {
        float x = std::exp2(exponent(engine)) * (sign(engine) < 0 ? -1.0f : 1.0f);
        if (i % 3 == 0) x = e4m3_to_f32(static_cast<std::uint8_t>(engine() % 127)) * 1.0625f;  // often a tie
        float clamped = std::fmin(std::fmax(x, -448.0f), 448.0f);
        float a = std::fabs(clamped);
        EXPECT_EQ(std::fabs(e4m3_to_f32(f32_to_e4m3(x))),
                  nearest(a, 127, [](int c) { return e4m3_to_f32(static_cast<std::uint8_t>(c)); }))
            << x;
    }
    for (float x = -7; x <= 7; x += 0.03125f)
        EXPECT_EQ(std::fabs(e2m1_to_f32(f32_to_e2m1(x))),
                  nearest(std::fabs(x), 8, [](int c) { return kE2m1[c]; }))
            << x;
    EXPECT_EQ(f32_to_e4m3(NAN), 0x7f);
}

TEST(FloatFormats, HalvesRoundTrip) {
    for (int h = 0; h < 65536; ++h) {
        auto bits = static_cast<std::uint16_t>(h);
        float half = f16_to_f32(bits), brain = bf16_to_f32(bits);
        EXPECT_TRUE(std::isnan(half) || f32_to_f16(half) == bits) << h;
        EXPECT_TRUE(std::isnan(brain) || f32_to_bf16(brain) == bits) << h;
    }
    EXPECT_EQ(f16_to_f32(0x3c00), 1.0f);
    EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
    EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);         // rounds to infinity
    EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);  // tie to even
    EXPECT_EQ(f32_to_f16(1.0f + 0x1.8p-10f), 0x3c02);
    EXPECT_EQ(f32_to_f16(0x1p-24f), 1);
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(NAN))));
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

TEST(FloatFormats, PowersOfTwo) {
    for (int e = -126; e <= 127; ++e) {
        float p = exp2i(e);
        EXPECT_EQ(p, std::ldexp(1.0f, e));
        EXPECT_EQ(ceil_log2(p), e);
        EXPECT_EQ(ceil_log2(std::nextafter(p, INFINITY)), e + 1);
        EXPECT_EQ(e8m0_to_f32(static_cast<std::uint8_t>(e + 127)), p);
    }
    EXPECT_EQ(e8m0_to_f32(0), 0x1p-127f);
}

}  // namespace
}  // namespace cachalot
