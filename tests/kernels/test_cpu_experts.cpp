// The router and the experts on every instruction set of this machine, against the scalar reference.
#include <numeric>

#include "kernels/cpu_backend_test.h"

namespace cachalot {
namespace {

using test::expect_close;
using test::RandomData;
using test::RandomMatrix;

class CpuExpertsTest : public test::CpuBackendTest {};
INSTANTIATE_TEST_SUITE_P(Isa, CpuExpertsTest, testing::ValuesIn(test::tested_sets()),
                         [](const auto& param) { return param.param; });

TEST_P(CpuExpertsTest, RouterAndExperts) {
    constexpr int kHidden = 64, kInner = 96, kExperts = 9, kTop = 3;
    for (DType type : {DType::mxfp4, DType::fp4_pairs, DType::bf16}) {
        std::vector<RandomMatrix> matrices;
        matrices.reserve(3 * (kExperts + 1));
        std::vector<ExpertWeights> experts;
        auto make = [&](DType t) {
            for (int i = 0; i < 2; ++i) matrices.emplace_back(t, kInner, kHidden, random);
            matrices.emplace_back(t, kHidden, kInner, random);
            auto* m = &matrices[matrices.size() - 3];
            return ExpertWeights{m[0].matrix, m[1].matrix, m[2].matrix};
        };
        for (int e = 0; e < kExperts; ++e) experts.push_back(make(type));
        ExpertWeights shared = make(DType::bf16);
        ExpertsInMemory supply(experts);
        auto bias = random.vector(kExperts);
        std::vector<std::int32_t> table;
        for (int i = 0; i < 20 * kTop; ++i) table.push_back(random.integer(0, kExperts - 1));
        for (int rows : {1, 4, 50})
            for (bool hash : {false, true}) {
                auto logits = random.vector(rows * kExperts, 5), x = random.vector(rows * kHidden, 4);
                std::vector<std::int32_t> tokens, ids[2];
                for (int r = 0; r < rows; ++r) tokens.push_back(random.integer(0, 19));
                std::vector<float> weights[2], y[2];
                auto cpu = backend();
                for (int i = 0; i < 2; ++i) {
                    auto& backend = i ? *cpu : *reference;
                    ids[i].resize(static_cast<std::size_t>(rows * kTop));
                    weights[i].resize(ids[i].size());
                    y[i].resize(static_cast<std::size_t>(rows * kHidden));
                    backend.route({rows, logits.data(), kExperts, kTop, hash ? nullptr : bias.data(),
                                   hash ? table.data() : nullptr, tokens.data(), 1.5f, ids[i].data(),
                                   weights[i].data()});
                    backend.experts({rows, x.data(), y[i].data(), kTop, ids[i].data(), weights[i].data(),
                                     &supply, &shared, 2.0f, 1.5f});
                }
                EXPECT_EQ(ids[0], ids[1]);
                expect_close(weights[0], weights[1], 1e-6f);
                expect_close(y[0], y[1], 5e-6f);
            }
    }
}

// Hands experts out in any order, a few at a time, the first time none.
class ScatteredExperts final : public ExpertSupply {
  public:
    ScatteredExperts(std::span<const ExpertWeights> experts, RandomData& random)
        : experts_(experts), random_(random) {}

    const ExpertWeights& layout(std::int32_t e) const override {
        return experts_[static_cast<std::size_t>(e)];
    }
    void request(std::span<const std::int32_t> experts, std::span<const std::int32_t> rows) override {
        asked_.assign(experts.begin(), experts.end());
        counts.assign(rows.begin(), rows.end());
        given_.assign(asked_.size(), false);
        calls_ = 0;
    }
    std::size_t next(std::span<const ExpertWeights*> weights) override {
        std::fill(weights.begin(), weights.end(), nullptr);
        if (calls_++ == 0) return 0;
        std::size_t count = 0;
        while (count == 0)
            for (std::size_t i = 0; i < asked_.size(); ++i)
                if (!given_[i] && random_.integer(0, 2) == 0) {
                    given_[i] = true;
                    weights[i] = &layout(asked_[i]);
                    ++count;
                }
        return count;
    }

    std::vector<std::int32_t> counts;

  private:
    std::span<const ExpertWeights> experts_;
    RandomData& random_;
    std::vector<std::int32_t> asked_;
    std::vector<bool> given_;
    int calls_ = 0;
};

TEST_P(CpuExpertsTest, ExpertsThatArriveInAnyOrderGiveTheSameBits) {
    constexpr int kHidden = 64, kInner = 96, kExperts = 9, kTop = 3;
    for (DType type : {DType::mxfp4, DType::bf16}) {
        std::vector<RandomMatrix> matrices;
        matrices.reserve(3 * (kExperts + 1));
        std::vector<ExpertWeights> experts;
        for (int e = 0; e <= kExperts; ++e) {
            for (int i = 0; i < 2; ++i) matrices.emplace_back(type, kInner, kHidden, random);
            matrices.emplace_back(type, kHidden, kInner, random);
            auto* m = &matrices[matrices.size() - 3];
            experts.push_back({m[0].matrix, m[1].matrix, m[2].matrix});
        }
        const ExpertWeights shared = experts.back();
        experts.pop_back();
        ExpertsInMemory at_once(experts);
        ScatteredExperts scattered(experts, random);
        auto cpu = backend(Precision::fast);
        for (int rows : {1, 4, 50}) {
            auto x = random.vector(rows * kHidden, 4), weights = random.vector(rows * kTop);
            std::vector<std::int32_t> ids;
            for (int r = 0; r < rows; ++r)
                for (int i = 0; i < kTop; ++i) ids.push_back((random.integer(0, 2) + 3 * i + r) % kExperts);
            for (Primitives* b : {reference.get(), cpu.get()}) {
                std::vector<float> y(x.size()), expected(x.size());
                ExpertsCall call{rows,           x.data(), expected.data(), kTop, ids.data(),
                                 weights.data(), &at_once, &shared,         2.0f, 1.5f};
                const auto before = b->synchronizations();
                b->experts(call);
                // Gathering, gate and up, rounding, down, the sum.
                EXPECT_LE(b->synchronizations() - before, 5);
                call.y = y.data();
                call.routed = &scattered;
                b->experts(call);
                EXPECT_EQ(y, expected) << rows;
                EXPECT_EQ(std::accumulate(scattered.counts.begin(), scattered.counts.end(), 0), rows * kTop);
            }
        }
    }
}

}  // namespace
}  // namespace cachalot
