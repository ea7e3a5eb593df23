// What tests of the CPU backend share: one fixture for each instruction set of this machine, beside the
// reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/error.h"
#include "kernels/cpu/cpu_primitives.h"
#include "kernels/cpu/instruction_sets.h"
#include "kernels/primitives.h"
#include "kernels/random_data.h"
#include "kernels/reference/rows.h"

namespace cachalot::test {

const cpu::Table* avx512_emulated_table();     // avx512_emulated.cpp
const cpu::Table* avx2_vnni_emulated_table();  // avx2_vnni_emulated.cpp

// Relative to the largest value, or to `scale` if that is more.
inline void expect_close(std::span<const float> expected, std::span<const float> actual, float relative,
                         float scale = 1e-6f) {
    ASSERT_EQ(expected.size(), actual.size());
    for (float v : expected) scale = std::max(scale, std::fabs(v));
    for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(expected[i], actual[i], relative * scale) << "element " << i << " of " << expected.size();
}

// Worst first.
inline std::vector<std::string> tested_sets() {
    std::vector<std::string> sets;
    for (const auto& set : cpu::instruction_sets())
        if (set.available) sets.insert(sets.begin(), set.name);
#if defined(CACHALOT_TEST_EMULATED_AVX2_VNNI)
    if (cpu_features().avx2) sets.push_back("avx2_vnni_emulated");
#endif
#if defined(CACHALOT_TEST_EMULATED_AVX512)
    sets.push_back("avx512_emulated");
#endif
    return sets;
}

// Cosines and sines of arbitrary angles for `rows` rows.
struct Angles {
    std::vector<float> cosine, sine;
    RotaryView view;
    Angles(int rows, int half, RandomData& random) {
        for (int i = 0; i < rows * half; ++i) {
            float angle = random.normal(10);
            cosine.push_back(std::cos(angle));
            sine.push_back(std::sin(angle));
        }
        view = {cosine.data(), sine.data(), half};
    }
};

class CpuBackendTest : public testing::TestWithParam<std::string> {
  protected:
    // Of the set that is tested.
    const cpu::Table& table() const {
#if defined(CACHALOT_TEST_EMULATED_AVX2_VNNI)
        if (GetParam() == "avx2_vnni_emulated") return *avx2_vnni_emulated_table();
#endif
#if defined(CACHALOT_TEST_EMULATED_AVX512)
        if (GetParam() == "avx512_emulated") return *avx512_emulated_table();
#endif
        return cpu::choose_table(GetParam());
    }
    std::unique_ptr<Primitives> backend(Precision precision = Precision::exact, int threads = 3) {
        return std::make_unique<cpu::CpuPrimitives>(table(), CpuOptions{threads, precision, {}});
    }
    std::unique_ptr<Primitives> reference = make_reference_primitives();
    RandomData random{7};
};

}  // namespace cachalot::test
