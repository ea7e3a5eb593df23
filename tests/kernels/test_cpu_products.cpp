// Matrix products of the CPU backend against the scalar reference, on every instruction set of this machine.
#include "kernels/cpu_backend_test.h"
#include "tensor/float_formats.h"

namespace cachalot {
namespace {

using test::expect_close;
using test::kWeightTypes;
using test::RandomMatrix;

// How large the product of a row of weights with normally distributed values is expected to be; one that is
// small by chance is not more exact.
float usual_product(const Matrix& w) {
    std::vector<float> row(static_cast<std::size_t>(w.columns));
    dequantize_row(w, 0, row);
    float squares = 0;
    for (float v : row) squares += v * v;
    return std::sqrt(squares);
}

class CpuProductsTest : public test::CpuBackendTest {};
INSTANTIATE_TEST_SUITE_P(Isa, CpuProductsTest, testing::ValuesIn(test::tested_sets()),
                         [](const auto& param) { return param.param; });

TEST_P(CpuProductsTest, ExactProductsOfEveryType) {
    auto cpu = backend();
    for (DType type : kWeightTypes)
        for (int rows : {1, 2, 3, 4, 7, 17, 33})
            for (auto [outputs, least] : {std::pair{1, 32}, {37, 96}, {130, 288}}) {
                const std::int64_t columns = test::fitting_columns(type, least);
                SCOPED_TRACE(testing::Message()
                             << name(type) << " [" << outputs << ", " << columns << "] x " << rows);
                RandomMatrix w(type, outputs, columns, random);
                auto x = random.vector(std::int64_t(rows) * columns);
                std::vector<float> expected(static_cast<std::size_t>(rows * outputs)), actual(expected);
                Projection p{&w.matrix, x.data(), columns, expected.data(), outputs};
                reference->project({&p, 1}, rows);
                p.y = actual.data();
                cpu->project({&p, 1}, rows);
                expect_close(expected, actual, 2e-6f, usual_product(w.matrix));
            }
}

// Rounding activations to int8 costs at most half a step per value: amax / 254 for each of the 32.
TEST_P(CpuProductsTest, FastProductsStayWithinTheRoundingOfTheActivations) {
    auto cpu = backend(Precision::fast);
    for (DType type : kWeightTypes)
        for (int rows : {1, 2, 5, 16}) {
            SCOPED_TRACE(testing::Message() << name(type) << " x " << rows);
            int outputs = 45, columns = 256;
            RandomMatrix w(type, outputs, columns, random);
            auto x = random.vector(std::int64_t(rows) * columns);
            // What should be computed: the reference on activations rounded the same way.
            auto rounded = x;
            bool integer = type == DType::mxfp4 || type == DType::fp4_pairs || type == DType::q8_0 ||
                           type == DType::q4_k || type == DType::q2_k || type == DType::iq2_xxs;
            for (std::size_t b = 0; integer && b < rounded.size(); b += 32) {
                float amax = 0;
                for (std::size_t i = b; i < b + 32; ++i) amax = std::max(amax, std::fabs(x[i]));
                for (std::size_t i = b; i < b + 32; ++i)
                    rounded[i] = std::nearbyint(x[i] * (127.0f / amax)) * (amax / 127.0f);
            }
            const bool bf16_products = table().round_to_bf16 != nullptr;
            if ((type == DType::bf16 || type == DType::f8_e4m3) && bf16_products)
                for (float& v : rounded) v = bf16_to_f32(f32_to_bf16(v));
            std::vector<float> expected(static_cast<std::size_t>(rows * outputs)), actual(expected);
            Projection p{&w.matrix, rounded.data(), columns, expected.data(), outputs};
            reference->project({&p, 1}, rows);
            p.x = x.data();
            p.y = actual.data();
            cpu->project({&p, 1}, rows);
            expect_close(expected, actual, 2e-6f);

            p.float_inputs = true;
            cpu->project({&p, 1}, rows);
            p.x = x.data();
            p.y = expected.data();
            reference->project({&p, 1}, rows);
            expect_close(expected, actual, 2e-6f, usual_product(w.matrix));
        }
}

// FP8 with a scale for each 32 x 32, as in V4.1.
TEST_P(CpuProductsTest, Fp8OfSmallBlocksMatchesTheReference) {
    const bool bf16_products = GetParam() == "avx512_bf16" || GetParam() == "neon_i8mm";
    for (const auto precision : {Precision::exact, Precision::fast})
        for (int rows : {1, 2, 5, 16, 33})
            for (auto [outputs, columns] : {std::pair{1, 32}, {37, 96}, {130, 288}, {64, 512}}) {
                SCOPED_TRACE(testing::Message() << "[" << outputs << ", " << columns << "] x " << rows);
                auto cpu = backend(precision);
                RandomMatrix w(DType::f8_e4m3, outputs, columns, random, 32);
                auto x = random.vector(std::int64_t(rows) * columns);
                if (precision == Precision::fast && bf16_products)
                    for (float& v : x) v = bf16_to_f32(f32_to_bf16(v));
                std::vector<float> expected(static_cast<std::size_t>(rows * outputs)), actual(expected);
                Projection p{&w.matrix, x.data(), columns, expected.data(), outputs};
                reference->project({&p, 1}, rows);
                p.y = actual.data();
                cpu->project({&p, 1}, rows);
                expect_close(expected, actual, 2e-6f, usual_product(w.matrix));
            }
}

// Columns for which products of one row are summed along the rows of weights where the set does that: half a
// step, so that two rows are taken together, and two steps.
constexpr std::int64_t kAlongRows[] = {256, 1024};

// Every code at an end of its range and every activation at +-127: nothing may overflow or saturate on the
// way.
TEST_P(CpuProductsTest, TheLargestProductsFit) {
    auto cpu = backend(Precision::fast);
    struct Case {
        DType type;
        std::vector<std::size_t> units;  // where a block has an F16 scale
    };
    const Case cases[] = {{DType::q8_0, {0}},    {DType::mxfp4, {}},      {DType::fp4_pairs, {}},
                          {DType::q4_k, {0, 2}}, {DType::q2_k, {80, 82}}, {DType::iq2_xxs, {0}}};
    for (const auto& [type, units] : cases)
        for (int code : {0x00, 0x77, 0x7f, 0x80, 0xff})
            for (auto [sign, along] :
                 {std::pair{1.0f, -1}, {-1.0f, -1}, {1.0f, 0}, {-1.0f, 0}, {1.0f, 1}, {-1.0f, 1}}) {
                SCOPED_TRACE(testing::Message() << name(type) << " of bytes " << code << " x " << sign);
                const std::int64_t outputs = 37,
                                   columns = along < 0 ? test::fitting_columns(type, 64) : kAlongRows[along],
                                   rows = along < 0 ? 3 : 1;
                RandomMatrix w(type, outputs, columns, random);
                const auto block = static_cast<std::size_t>(info(type).bytes);
                const std::uint16_t unit = f32_to_f16(0.25f);
                std::fill(w.bytes.begin(), w.bytes.end(), static_cast<std::byte>(code));
                for (std::size_t at = 0; at < w.bytes.size(); at += block) {
                    if (type == DType::mxfp4) w.bytes[at] = std::byte{125};
                    for (std::size_t i : units) std::memcpy(&w.bytes[at + i], &unit, 2);
                }
                std::vector<float> x(static_cast<std::size_t>(rows * columns), sign);
                std::vector<float> expected(static_cast<std::size_t>(rows * outputs)), actual(expected);
                Projection p{&w.matrix, x.data(), columns, expected.data(), outputs};
                reference->project({&p, 1}, rows);
                p.y = actual.data();
                cpu->project({&p, 1}, rows);
                expect_close(expected, actual, 2e-6f);
            }
}

// Few and many rows take ways of their own, and so do long rows. The results of small activations are
// denormal on their way.
TEST_P(CpuProductsTest, ARowGivesTheSameBitsAloneAndInABatch) {
    constexpr int kOutputs = 67, kMost = 50;
    for (auto precision : {Precision::exact, Precision::fast}) {
        auto cpu = backend(precision, 1);  // more threads would divide the rows
        for (DType type : kWeightTypes)
            for (std::int64_t least : {std::int64_t(160), kAlongRows[0], kAlongRows[1], std::int64_t(1280)}) {
                const auto columns = test::fitting_columns(type, least);
                RandomMatrix w(type, kOutputs, columns, random);
                auto x = random.vector(kMost * columns);
                const bool floats = info(type).elements == 1 && type != DType::fp4_pairs;
                for (std::int64_t r = 1; r < kMost; r += 4)
                    for (std::int64_t c = 0; c < columns; ++c) x[r * columns + c] *= floats ? 1e-37f : 1e-34f;
                std::vector<float> batch(kMost * kOutputs), alone(batch);
                for (int r = 0; r < kMost; ++r) {
                    Projection one{&w.matrix, x.data() + r * columns, columns, alone.data() + r * kOutputs,
                                   kOutputs};
                    cpu->project({&one, 1}, 1);
                }
                for (int rows : {2, 3, 4, 5, 6, 7, 8, 9, kMost}) {
                    Projection p{&w.matrix, x.data(), columns, batch.data(), kOutputs};
                    cpu->project({&p, 1}, rows);
                    for (int i = 0; i < rows * kOutputs; ++i)
                        ASSERT_EQ(alone[i], batch[i]) << name(type) << " " << columns << " x " << rows;
                }
            }
    }
}

TEST_P(CpuProductsTest, SeveralProductsAndStridesAtOnce) {
    auto cpu = backend(Precision::fast);
    RandomMatrix a(DType::q8_0, 33, 64, random), b(DType::bf16, 40, 64, random),
        c(DType::mxfp4, 8, 128, random);
    auto x = random.vector(5 * 192);
    std::vector<float> together(5 * 90), apart(together);
    Projection all[] = {{&a.matrix, x.data(), 192, together.data(), 90},
                        {&b.matrix, x.data() + 64, 192, together.data() + 33, 90},
                        {&c.matrix, x.data() + 64, 192, together.data() + 73, 90}};
    cpu->project(all, 5);
    for (auto p : all) {
        p.y = apart.data() + (p.y - together.data());
        cpu->project({&p, 1}, 5);
    }
    EXPECT_EQ(together, apart);
}

}  // namespace
}  // namespace cachalot
