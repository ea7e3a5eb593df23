// Row formats: the rounding of DeepSeek's reference, checked against its definition value by value.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/random_data.h"
#include "kernels/reference/rows.h"

namespace cachalot {
namespace {

TEST(Rows, Fp8RoundsInGroupsOf64AndKeepsTheRotatedDimsInBf16) {
    test::RandomData random(3);
    RowFormat format{RowFormat::Kind::fp8_kv, 192, 64};
    EXPECT_EQ(format.bytes(), 264);  // 128 + 128 + 2, padded
    auto x = random.vector(192, 5);
    x[70] = 0;
    for (int i = 0; i < 64; ++i) x[i] *= 1e-7f;  // below the floor of the scale
    std::vector<std::byte> row(264, std::byte{77});
    std::vector<float> y(192);
    encode_row(format, x.data(), row.data());
    decode_row(format, row.data(), y.data());
    for (int i = 258; i < 264; ++i) EXPECT_EQ(row[i], std::byte{0}) << i;
    for (int g = 0; g < 2; ++g) {
        float amax = 1e-4f;
        for (int i = 0; i < 64; ++i) amax = std::max(amax, std::fabs(x[g * 64 + i]));
        float scale = std::exp2(std::ceil(std::log2(amax / 448)));
        for (int i = g * 64; i < g * 64 + 64; ++i)
            EXPECT_EQ(y[i], e4m3_to_f32(f32_to_e4m3(x[i] / scale)) * scale) << i;
    }
    for (int i = 128; i < 192; ++i) EXPECT_EQ(y[i], round_to_bf16(x[i]));
}

TEST(Rows, Fp4RoundsInGroupsOf32) {
    test::RandomData random(4);
    RowFormat format{RowFormat::Kind::fp4_key, 128, 64};
    EXPECT_EQ(format.bytes(), 68);
    auto x = random.vector(128, 2), rounded = x;
    std::vector<std::byte> row(68);
    std::vector<float> y(128);
    encode_row(format, x.data(), row.data());
    decode_row(format, row.data(), y.data());
    round_fp4(rounded.data(), 128);
    EXPECT_EQ(y, rounded);
    for (int g = 0; g < 4; ++g) {
        float amax = 0;
        for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[g * 32 + i]));
        float scale = std::exp2(std::ceil(std::log2(amax / 6)));
        for (int i = g * 32; i < g * 32 + 32; ++i)
            EXPECT_EQ(y[i], e2m1_to_f32(f32_to_e2m1(x[i] / scale)) * scale);
    }
}

TEST(Rows, Fp8OfV41RoundsAllValuesInGroupsOf32) {
    test::RandomData random(7);
    RowFormat format{RowFormat::Kind::fp8_32, 128, 64};
    EXPECT_EQ(format.bytes(), 132);
    const auto x = random.vector(128, 5);
    std::vector<std::byte> row(132);
    std::vector<float> y(128);
    encode_row(format, x.data(), row.data());
    decode_row(format, row.data(), y.data());
    for (int g = 0; g < 4; ++g) {
        float amax = 1e-4f;
        for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[g * 32 + i]));
        const float scale = std::exp2(std::ceil(std::log2(amax / 448)));
        for (int i = g * 32; i < g * 32 + 32; ++i)
            EXPECT_EQ(y[i], e4m3_to_f32(f32_to_e4m3(x[i] / scale)) * scale) << i;
    }
}

TEST(Rows, Fp4WithE4m3ScalesRoundsInGroupsOf16) {
    test::RandomData random(8);
    RowFormat format{RowFormat::Kind::fp4_16, 128, 64};
    EXPECT_EQ(format.bytes(), 72);
    EXPECT_EQ((RowFormat{RowFormat::Kind::fp4_16, 512, 64}.bytes()), 288);
    auto x = random.vector(128, 2);
    std::fill_n(x.begin(), 16, 0.0f);
    std::fill_n(x.begin() + 16, 16, 1e-9f);
    std::vector<std::byte> row(72);
    std::vector<float> y(128);
    encode_row(format, x.data(), row.data());
    decode_row(format, row.data(), y.data());
    for (int g = 0; g < 8; ++g) {
        float amax = 6 * 0x1p-9f;
        for (int i = 0; i < 16; ++i) amax = std::max(amax, std::fabs(x[g * 16 + i]));
        const float scale =
            e4m3_to_f32(f32_to_e4m3(amax / 6));  // may be less than that: then 6 is the largest
        for (int i = g * 16; i < g * 16 + 16; ++i)
            EXPECT_EQ(y[i], e2m1_to_f32(f32_to_e2m1(x[i] / scale)) * scale) << i;
    }
    for (int i = 0; i < 32; ++i) EXPECT_EQ(y[i], 0) << i;
}

TEST(Rows, RoundingTwiceChangesNothing) {
    test::RandomData random(5);
    for (auto kind : {RowFormat::Kind::f32, RowFormat::Kind::fp8_kv, RowFormat::Kind::fp4_key}) {
        RowFormat format{kind, 128, 64};
        auto x = random.vector(128);
        std::vector<std::byte> first(static_cast<std::size_t>(format.bytes())), second(first);
        std::vector<float> y(128), z(128);
        encode_row(format, x.data(), first.data());
        decode_row(format, first.data(), y.data());
        encode_row(format, y.data(), second.data());
        decode_row(format, second.data(), z.data());
        EXPECT_EQ(y, z);
    }
}

TEST(Rows, HadamardIsItsOwnInverseAndKeepsDotProducts) {
    test::RandomData random(6);
    auto a = random.vector(128), b = random.vector(128), c = a, d = b;
    hadamard(c.data(), 128);
    hadamard(d.data(), 128);
    double before = 0, after = 0;
    for (int i = 0; i < 128; ++i) before += a[i] * b[i], after += c[i] * d[i];
    EXPECT_NEAR(before, after, 1e-4);
    hadamard(c.data(), 128);
    for (int i = 0; i < 128; ++i) EXPECT_NEAR(a[i], c[i], 1e-5);
}

}  // namespace
}  // namespace cachalot
