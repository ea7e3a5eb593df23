// How kernels on cards read weights, compared on the host with the definition of every type.
#include <gtest/gtest.h>

#include "kernels/cuda/formats.h"
#include "kernels/random_data.h"
#include "tensor/k_quants.h"

namespace cachalot {
namespace {

using test::RandomData;
using test::RandomMatrix;

const cuda::Grids& grids() {
    static const cuda::Grids here = cuda::grids_at(cuda::grid_values().data());
    return here;
}

class CudaFormats : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, CudaFormats, testing::ValuesIn(test::kWeightTypes),
                         [](const auto& type) { return std::string(name(type.param)); });

TEST_P(CudaFormats, GroupsAreTheNumbersOfTheRow) {
    RandomData random(11);
    for (const int fp8_block : {128, 32}) {
        const RandomMatrix weights(GetParam(), 9, 512, random, fp8_block);
        const Matrix& m = weights.matrix;
        std::vector<float> expected(static_cast<std::size_t>(m.columns)), actual(expected);
        for (std::int64_t r = 0; r < m.rows; ++r) {
            dequantize_row(m, r, expected);
            for (std::int64_t g = 0; g < m.columns / cuda::kGroup; ++g)
                ASSERT_TRUE(cuda::decode_group(m, r, g, grids(), actual.data() + g * cuda::kGroup));
            ASSERT_EQ(actual, expected) << "row " << r;
        }
    }
}

TEST(CudaFormats, OtherTypesAreNoWeights) {
    const std::int32_t numbers[32] = {};
    const Matrix m{DType::i32, 1, 32, reinterpret_cast<const std::byte*>(numbers), sizeof numbers};
    float out[32];
    EXPECT_FALSE(cuda::decode_group(m, 0, 0, grids(), out));
}

TEST(CudaFormats, SignsOfEightValuesAreThoseOfTheFormat) {
    for (unsigned stored = 0; stored < 128; ++stored)
        EXPECT_EQ(cuda::formats::even_signs(stored), iq2xxs_signs(stored)) << stored;
}

}  // namespace
}  // namespace cachalot
