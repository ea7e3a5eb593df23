// Weights are heeded, instruction sets agree, blocks of every kind survive, and what cannot be quantised is
// refused.
#include <algorithm>

#include "base/cpu_features.h"
#include "base/error.h"
#include "quant/quantize_test.h"
#include "quant/table.h"

namespace cachalot {
namespace {

using test::error;
using test::gaussian;
using test::kTypes;
using test::pack;
using test::unpack;
using test::Values;

TEST(Quantize, WeightsMoveTheErrorToWhereItMattersLess) {
    const Values x = gaussian(2048, 3);
    test::RandomData random(4);
    Values w(x.size());
    for (float& v : w) v = std::exp(2 * random.normal());
    usable_importance(w);
    for (DType type : kTypes) {
        const double with = error(type, x, w, w), without = error(type, x, {}, w);
        EXPECT_LT(with, (type == DType::mxfp4 ? 1.0 : 0.97) * without) << name(type);
        // Weights that are all the same are none.
        EXPECT_EQ(pack(type, x, Values(x.size(), 1.0f)), pack(type, x)) << name(type);
    }
}

TEST(Quantize, EveryInstructionSetWritesTheSameBytes) {
#if defined(__x86_64__)
    if (!cpu_features().avx2) GTEST_SKIP() << "no AVX2 here";
    test::RandomData random(5);
    for (DType type : kTypes)
        for (float spread : {0.0f, 1.0f}) {
            const auto n = static_cast<std::size_t>(info(type).elements);
            for (int round = 0; round < 4; ++round) {
                const Values x = random.vector(static_cast<std::int64_t>(n), 0.1f);
                Values w(n);
                for (float& v : w) v = std::exp(spread * random.normal());
                std::vector<std::byte> a(static_cast<std::size_t>(info(type).bytes)), b = a;
                quant::find_generic(type)(x.data(), w.data(), a.data());
                quant::find_avx2(type)(x.data(), w.data(), b.data());
                EXPECT_EQ(a, b) << name(type);
            }
        }
#endif
}

TEST(Quantize, BlocksOfEveryKind) {
    test::RandomData random(6);
    std::vector<Values> blocks(8, Values(256, 0.0f));
    blocks[1].assign(256, 0.25f);
    blocks[2].assign(256, -3.0f);
    blocks[3][100] = 5.0f;                                // one value
    for (float& v : blocks[4]) v = random.normal(1e-9f);  // below the halves
    for (float& v : blocks[5]) v = random.normal(15000.0f) * 0.9f;
    for (float& v : blocks[5]) v = std::clamp(v, -65504.0f, 65504.0f);
    for (float& v : blocks[6]) v = std::fabs(random.normal());
    for (int i = 0; i < 256; ++i) blocks[7][static_cast<std::size_t>(i)] = static_cast<float>(i % 2 ? 1 : -1);
    for (DType type : kTypes)
        for (std::size_t k = 0; k < blocks.size(); ++k) {
            const Values y = unpack(type, pack(type, blocks[k]), 256);
            double missed = 0, size = 0;
            for (std::size_t i = 0; i < 256; ++i) {
                ASSERT_TRUE(std::isfinite(y[i])) << name(type) << " block " << k;
                missed += std::pow(static_cast<double>(y[i]) - blocks[k][i], 2);
                size += std::pow(static_cast<double>(blocks[k][i]), 2);
            }
            if (k == 0) {
                EXPECT_EQ(missed, 0) << name(type);
            }
            // Coarse patterns cannot say everything, but nothing is worse than writing zeros.
            EXPECT_LE(missed, size * (k == 4 ? 1.001 : 0.6)) << name(type) << " block " << k;
        }
}

TEST(Quantize, WhatATypeHoldsExactlyStaysExact) {
    test::RandomData random(7);
    const test::RandomMatrix fp4(DType::mxfp4, 1, 1024, random);
    Values x(1024);
    dequantize_row(fp4.matrix, 0, x);
    EXPECT_EQ(unpack(DType::mxfp4, pack(DType::mxfp4, x), x.size()), x);
    // FP4's values are 25 multiples of half a unit: within reach of Q8_0, whose scale is found again.
    double size = 0;
    for (float v : x) size += static_cast<double>(v) * v;
    EXPECT_LT(error(DType::q8_0, x), 1e-6 * size);
}

TEST(Quantize, Refuses) {
    const auto refused = [](DType type, float value) {
        Values x(256, 1.0f);
        x[7] = value;
        try {
            pack(type, x);
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    for (DType type : kTypes) {
        EXPECT_THAT(refused(type, NAN), testing::HasSubstr("not finite"));
        EXPECT_THAT(refused(type, -INFINITY), testing::HasSubstr("not finite"));
        if (type != DType::mxfp4) {
            EXPECT_THAT(refused(type, 1e6f), testing::HasSubstr("larger than 65504"));
        }
        EXPECT_TRUE(can_quantize(type));
    }
    EXPECT_THAT(refused(DType::iq1_s, 1), testing::HasSubstr("cannot convert to type iq1_s"));
    EXPECT_FALSE(can_quantize(DType::iq1_s));
}

TEST(Quantize, Importance) {
    Values w = {0, 1, 3, NAN};
    EXPECT_TRUE(usable_importance(w));
    EXPECT_EQ(w, (Values{1e-3f, 1, 3, 1e-3f}));
    Values silent(8, 0.0f);
    EXPECT_FALSE(usable_importance(silent));
}

}  // namespace
}  // namespace cachalot
