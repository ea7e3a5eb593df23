#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/random_data.h"

namespace cachalot {
namespace {

TEST(Dtype, SizesOfRows) {
    EXPECT_EQ(row_bytes(DType::mxfp4, 64), 34);
    EXPECT_EQ(row_bytes(DType::q8_0, 64), 68);
    EXPECT_EQ(row_bytes(DType::fp4_pairs, 64), 32);
    EXPECT_THROW(row_bytes(DType::q8_0, 33), Error);
    EXPECT_THROW(row_bytes(DType::f32, INT64_MAX), Error);
    EXPECT_EQ(parse_dtype("bf16"), DType::bf16);
    EXPECT_THROW(parse_dtype("q9_9"), Error);
}

TEST(Convert, RepackingFp4KeepsEveryValue) {
    test::RandomData random(1);
    test::RandomMatrix pairs(DType::fp4_pairs, 3, 256, random);
    for (int r = 0; r < 3; ++r) {
        std::vector<std::byte> packed(static_cast<std::size_t>(row_bytes(DType::mxfp4, 256)));
        repack_fp4_row(reinterpret_cast<const std::uint8_t*>(pairs.matrix.row(r)), pairs.matrix.row_scales(r),
                       256, packed);
        Matrix m{DType::mxfp4, 1, 256, packed.data(), static_cast<std::int64_t>(packed.size())};
        std::vector<float> a(256), b(256);
        dequantize_row(pairs.matrix, r, a);
        dequantize_row(m, 0, b);
        EXPECT_EQ(a, b);
    }
}

TEST(Convert, Bf16HoldsBlockScaledFp8Exactly) {
    test::RandomData random(2);
    test::RandomMatrix fp8(DType::f8_e4m3, 2, 256, random);
    std::vector<float> a(256);
    dequantize_row(fp8.matrix, 1, a);
    for (float v : a) EXPECT_EQ(round_to_bf16(v), v);
}

// Blocks at the edges are cut short; a slice begins where a block does.
TEST(Convert, AnFp8ScaleCoversABlockOfItsMatrix) {
    for (const int block : {32, 128}) {
        test::RandomData random(4);
        test::RandomMatrix fp8(DType::f8_e4m3, 200, 160, random, block);
        const Matrix& m = fp8.matrix;
        EXPECT_EQ(m.bytes(), 200 * 160 + blocks_of(200, block) * blocks_of(160, block));
        std::vector<float> row(160), sliced(160);
        for (const std::int64_t r : {0, 31, 32, 127, 128, 199}) {
            dequantize_row(m, r, row);
            for (std::size_t i = 0; i < row.size(); ++i) {
                const auto at = static_cast<std::size_t>(r / block * blocks_of(160, block)) +
                                i / static_cast<std::size_t>(block);
                EXPECT_EQ(row[i],
                          e4m3_to_f32(static_cast<std::uint8_t>(m.row(r)[i])) * e8m0_to_f32(fp8.scales[at]));
            }
            const std::int64_t first = r / block * block;
            dequantize_row(m.slice(first, 200 - first), r - first, sliced);
            EXPECT_EQ(row, sliced);
        }
    }
}

TEST(Convert, QuantisationErrorIsWithinHalfAStep) {
    test::RandomData random(3);
    auto x = random.vector(256);
    x[40] = 0;
    for (DType type : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::mxfp4}) {
        std::vector<std::byte> row(static_cast<std::size_t>(row_bytes(type, 256)));
        std::vector<float> y(256);
        quantize_row(type, x, row);
        dequantize_row({type, 1, 256, row.data(), static_cast<std::int64_t>(row.size())}, 0, y);
        for (int i = 0; i < 256; ++i) {
            float amax = 0;
            for (int j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) amax = std::max(amax, std::fabs(x[j]));
            float bound = 0;
            if (type == DType::f16) bound = std::fabs(x[i]) / 2048 + 1e-7f;
            if (type == DType::bf16) bound = std::fabs(x[i]) / 256;
            if (type == DType::q8_0) bound = amax / 127 * 0.51f;
            // the largest code is 6 and the scale leaves max|x| below 8: values above 7 saturate by up to 2
            if (type == DType::mxfp4) bound = amax / 4 * 2;
            EXPECT_LE(std::fabs(x[i] - y[i]), bound) << name(type) << " " << i;
        }
    }
}

TEST(Convert, RefusesWhatCannotBeStored) {
    std::vector<float> x(32, NAN);
    std::vector<std::byte> row(64);
    EXPECT_THROW(quantize_row(DType::q8_0, x, std::span(row).first(34)), Error);
    x.assign(32, 1e30f);
    EXPECT_THROW(quantize_row(DType::q8_0, x, std::span(row).first(34)), Error);
    EXPECT_THROW(quantize_row(DType::i32, x, std::span(row).first(0)), std::exception);
}

}  // namespace
}  // namespace cachalot
