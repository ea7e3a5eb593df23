// The CPU backend but products (test_cpu_products.cpp), attention (test_cpu_attention.cpp) and experts
// (test_cpu_experts.cpp) against the scalar reference, on every instruction set of this machine.
#include "kernels/cpu_backend_test.h"

namespace cachalot {
namespace {

using test::Angles;
using test::expect_close;
using test::RandomMatrix;

class CpuBackendTest : public test::CpuBackendTest {};
INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendTest, testing::ValuesIn(test::tested_sets()),
                         [](const auto& param) { return param.param; });

TEST_P(CpuBackendTest, TheForcedInstructionSetIsActive) {
    if (GetParam().ends_with("_emulated")) GTEST_SKIP() << "not one that can be forced";
    EXPECT_EQ(std::string(backend()->name()), "cpu " + GetParam() + " x3");
    ::setenv("CACHALOT_ISA", GetParam().c_str(), 1);
    EXPECT_EQ(std::string(make_cpu_primitives({1, Precision::fast, {}})->name()),
              "cpu " + GetParam() + " x1");
    ::unsetenv("CACHALOT_ISA");
}

TEST(CpuBackend, TheBestInstructionSetIsTheDefault) {
    std::string best;
    for (const auto& set : cpu::instruction_sets())
        if (best.empty() && set.available && set.by_default) best = set.name;
    ::unsetenv("CACHALOT_ISA");
    EXPECT_EQ(std::string(make_cpu_primitives({1, Precision::fast, {}})->name()), "cpu " + best + " x1");
}

TEST(CpuBackend, AnUnknownInstructionSetIsAnError) {
    EXPECT_THROW(make_cpu_primitives({1, Precision::fast, "mmx"}), Error);
}

TEST_P(CpuBackendTest, Norms) {
    auto cpu = backend();
    for (int n : {32, 128, 512}) {
        auto x = random.vector(3 * n, 3.0f), w = random.vector(n), y = x;
        reference->rms_norm(x.data(), w.data(), 1e-6f, 3, n);
        cpu->rms_norm(y.data(), w.data(), 1e-6f, 3, n);
        expect_close(x, y, 1e-6f);
    }
}

TEST_P(CpuBackendTest, QueryHeads) {
    auto cpu = backend();
    Angles angles(4, 32, random);
    for (bool normalise : {true, false}) {
        auto q = random.vector(4 * 3 * 128), r = q;
        reference->query_heads(q.data(), normalise, 1e-6f, angles.view, 4, 3, 128);
        cpu->query_heads(r.data(), normalise, 1e-6f, angles.view, 4, 3, 128);
        expect_close(q, r, 1e-6f);
    }
}

TEST_P(CpuBackendTest, HyperConnections) {
    auto cpu = backend();
    HyperConnectionParams params{96, 20, 1e-6f, 1e-6f};
    RandomMatrix fn(DType::f32, 24, 4 * 96, random), head_fn(DType::f16, 4, 4 * 96, random);
    auto base = random.vector(24), scale = random.vector(3), norm = random.vector(96);
    for (int rows : {1, 2, 9, 100}) {
        auto streams = random.vector(rows * 4 * 96), other = streams;
        std::vector<float> x[2], post[2], comb[2];
        for (int i = 0; i < 2; ++i) {
            x[i].resize(static_cast<std::size_t>(rows * 96));
            post[i].resize(static_cast<std::size_t>(rows * 4));
            comb[i].resize(static_cast<std::size_t>(rows * 16));
            auto& b = i ? *cpu : *reference;
            auto& s = i ? other : streams;
            b.hyper_connection_pre({fn.matrix, base.data(), scale.data()}, params, norm.data(), s.data(),
                                   rows, x[i].data(), post[i].data(), comb[i].data());
            b.hyper_connection_post(params, x[i].data(), post[i].data(), comb[i].data(), s.data(), rows);
        }
        expect_close(x[0], x[1], 3e-6f);
        expect_close(post[0], post[1], 3e-6f);
        expect_close(comb[0], comb[1], 3e-6f);
        expect_close(streams, other, 3e-6f);
        // Sinkhorn has converged: columns sum to one, rows nearly.
        for (int r = 0; r < rows; ++r)
            for (int k = 0; k < 4; ++k) {
                const float* c = comb[1].data() + r * 16;
                EXPECT_NEAR(c[k] + c[4 + k] + c[8 + k] + c[12 + k], 1.0f, 1e-5f);
                EXPECT_NEAR(c[4 * k] + c[4 * k + 1] + c[4 * k + 2] + c[4 * k + 3], 1.0f, 0.05f);
            }
        for (int i = 0; i < 2; ++i)
            (i ? *cpu : *reference)
                .hyper_connection_head({head_fn.matrix, base.data(), scale.data()}, params, norm.data(),
                                       streams.data(), rows, x[i].data());
        expect_close(x[0], x[1], 3e-6f);
    }
}

// A sub-layer reads with the weights of the one before it and leaves its own.
TEST_P(CpuBackendTest, DelayedHyperConnections) {
    auto cpu = backend();
    HyperConnectionParams params{96, 20, 1e-6f, 1e-20f};
    RandomMatrix fn(DType::f32, 24, 4 * 96, random);
    auto base = random.vector(24), scale = random.vector(3), norm = random.vector(96);
    const HyperConnectionWeights weights{fn.matrix, base.data(), scale.data()};
    for (int rows : {1, 5, 100}) {
        const auto streams = random.vector(rows * 4 * 96), before = random.vector(rows * 4);
        std::vector<float> x[2], head[2], delayed[2];
        for (int i = 0; i < 2; ++i) {
            auto& b = i ? *cpu : *reference;
            x[i].resize(static_cast<std::size_t>(rows * 96));
            head[i] = x[i];
            delayed[i] = before;
            std::vector<float> post(static_cast<std::size_t>(rows * 4)),
                comb(static_cast<std::size_t>(rows * 16));
            b.hyper_connection_pre(weights, params, norm.data(), streams.data(), rows, x[i].data(),
                                   post.data(), comb.data(), delayed[i].data());
            b.hyper_connection_head({}, params, norm.data(), streams.data(), rows, head[i].data(),
                                    before.data());
        }
        expect_close(x[0], x[1], 3e-6f);
        EXPECT_EQ(x[1], head[1]);  // of the same weights
        EXPECT_NE(delayed[1], before);
        expect_close(delayed[0], delayed[1], 3e-6f);
    }
}

TEST_P(CpuBackendTest, EngramAddsWhatFits) {
    auto cpu = backend();
    for (int hidden : {96, 256}) {
        const auto q = random.vector(4 * hidden), k = random.vector(4 * hidden);
        const EngramParams params{hidden, 1e-20f, q.data(), k.data()};
        auto kv = random.vector(3 * 5 * hidden), a = random.vector(3 * 4 * hidden), b = a;
        std::fill_n(kv.begin(), hidden, 0.0f);  // a key of zeros: the gate is half open
        reference->engram(params, kv.data(), a.data(), 3);
        cpu->engram(params, kv.data(), b.data(), 3);
        expect_close(a, b, 3e-6f);
    }
}

TEST_P(CpuBackendTest, BrokenWeightsGiveBrokenNumbersNotCrashes) {
    auto cpu = backend(Precision::fast);
    float nan = std::nanf("");
    std::vector<float> logits(9, nan), bias(9, 0.0f), weights(3);
    std::vector<std::int32_t> ids(3, -1), token(1, 0);
    cpu->route(
        {1, logits.data(), 9, 3, bias.data(), nullptr, token.data(), 1.0f, ids.data(), weights.data()});
    for (auto id : ids) EXPECT_TRUE(id >= 0 && id < 9);
    RandomMatrix w(DType::mxfp4, 8, 64, random);
    std::vector<float> x(64, nan), y(8);
    Projection p{&w.matrix, x.data(), 64, y.data(), 8};
    cpu->project({&p, 1}, 1);
    RowFormat format{RowFormat::Kind::fp8_kv, 128, 64};
    std::vector<std::byte> row(static_cast<std::size_t>(format.bytes()));
    std::vector<float> values(128, nan);
    encode_row(format, values.data(), row.data());
    values.assign(128, HUGE_VALF);
    encode_row(format, values.data(), row.data());
}

}  // namespace
}  // namespace cachalot
