#include "measure/importance_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/streaming_expert_store.h"
#include "kernels/observing_primitives.h"
#include "kernels/random_data.h"
#include "measure/text_windows.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using Sums = std::map<std::int32_t, std::vector<double>>;

// Sums what the experts' down projections see.
struct Squares final : ActivationObserver {
    Sums sums;
    std::map<std::int32_t, std::int64_t> rows;
    double entered_sum = 0;

    void projected(const Projection&, int) override {}
    void entered(const ExpertsCall& call) override { entered_sum += call.x[0]; }
    void activated(const ExpertsCall&, std::int32_t expert, const float* h, std::int64_t n,
                   std::int64_t columns, std::int64_t stride) override {
        rows[expert] += n;
        auto& sum = sums[expert];
        sum.resize(static_cast<std::size_t>(columns));
        for (std::int64_t r = 0; r < n; ++r)
            for (std::int64_t c = 0; c < columns; ++c)
                sum[c] += double(h[r * stride + c]) * h[r * stride + c];
    }
};

TEST(ObservingPrimitives, TheProcessorShowsWhatTheFormulasSay) {
    constexpr int kHidden = 64, kInner = 96, kExperts = 5, kTop = 2, kRows = 40;
    test::RandomData random(3);
    std::vector<std::unique_ptr<test::RandomMatrix>> matrices;
    auto make = [&](int rows, int columns) {
        matrices.push_back(std::make_unique<test::RandomMatrix>(DType::f32, rows, columns, random));
        return matrices.back()->matrix;
    };
    std::vector<ExpertWeights> experts;
    for (int e = 0; e <= kExperts; ++e)
        experts.push_back({make(kInner, kHidden), make(kInner, kHidden), make(kHidden, kInner)});
    ExpertsInMemory supply(std::span<const ExpertWeights>(experts).first(kExperts));
    auto x = random.vector(kRows * kHidden);
    std::vector<float> y(x.size()), weights(kRows * kTop, 0.5f);
    std::vector<std::int32_t> ids;
    for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < kTop; ++i) ids.push_back((r % 3 + i) % kExperts);  // expert 4 is never chosen
    const ExpertsCall call{kRows,          x.data(), y.data(),        kTop, ids.data(),
                           weights.data(), &supply,  &experts.back(), 10,   10};
    Squares expected, actual;
    make_observing_primitives(make_reference_primitives(), expected)->experts(call);
    make_observing_primitives(make_cpu_primitives({3, Precision::exact, {}}), actual)->experts(call);
    EXPECT_EQ(expected.rows, actual.rows);
    EXPECT_EQ(actual.rows, (std::map<std::int32_t, std::int64_t>{
                               {kSharedExpert, 40}, {0, 14}, {1, 27}, {2, 26}, {3, 13}}));
    EXPECT_EQ(actual.entered_sum, x[0]);
    for (const auto& [expert, sums] : expected.sums)
        for (std::size_t c = 0; c < sums.size(); ++c)
            EXPECT_NEAR(actual.sums[expert][c], sums[c], 1e-5 * sums[c] + 1e-9) << expert;
}

ImportanceMatrix collect(std::span<const std::int32_t> ids, std::size_t window,
                         std::unique_ptr<ExpertStore> store) {
    ImportanceMatrix matrix;
    ImportanceCollector collector(*test::nano(), matrix);
    EngineOptions options{2, Precision::exact, KvPrecision::f32};
    options.observer = &collector;
    Engine engine(test::nano(), options, std::move(store));
    for (const auto piece : text_windows(ids, window)) evaluate_window(engine, piece, [](auto, auto) {});
    return matrix;
}

std::unique_ptr<ExpertStore> resident() {
    return std::make_unique<ResidentExpertStore>(test::nano()->weights);
}

class CollectedFromNano : public testing::Test {
  protected:
    static constexpr std::size_t kTokens = 96;
    const std::vector<std::int32_t> ids = [] {
        auto all = test::Golden::ids("prose.ids");
        all.resize(std::min(all.size(), kTokens));
        return all;
    }();
};

TEST_F(CollectedFromNano, EveryTensorThatIsMultipliedIsThere) {
    const auto matrix = collect(ids, 1000, resident());
    const auto& c = test::nano()->config;
    for (const auto& [tensor, entry] : matrix.entries()) {
        std::int64_t count = 0;
        for (auto n : entry.counts) count += n;
        const auto tokens = static_cast<std::int64_t>(ids.size());
        std::int64_t times = 1;
        if (entry.experts > 1) times = c.experts_per_token;
        if (tensor.find("attn_output_a") != std::string::npos) times = c.output_groups;
        EXPECT_EQ(count, times * tokens) << tensor;
    }
    EXPECT_TRUE(matrix.entries().contains("output.weight"));
    EXPECT_TRUE(matrix.entries().contains("blk.2.indexer.attn_q_b.weight"));
    EXPECT_TRUE(matrix.entries().contains("blk.7.ffn_gate_inp.weight"));
    EXPECT_FALSE(matrix.entries().contains("token_embd.weight"));
    // The router and the shared expert read the same rows.
    EXPECT_EQ(matrix.entries().at("blk.4.ffn_gate_inp.weight").sums,
              matrix.entries().at("blk.4.ffn_up_shexp.weight").sums);
}

TEST_F(CollectedFromNano, NeitherWindowsNorStreamingMatter) {
    const auto whole = collect(ids, 48, resident());
    auto first = collect(std::span(ids).first(48), 48, resident());
    first.merge(collect(std::span(ids).subspan(48), 48, resident()));
    const auto streamed = collect(ids, 48, std::make_unique<StreamingExpertStore>(*test::nano(), 16));
    for (const auto& [tensor, entry] : whole.entries())
        for (const ImportanceMatrix* other : {&std::as_const(first), &streamed}) {
            const auto& e = other->entries().at(tensor);
            EXPECT_EQ(e.counts, entry.counts) << tensor;
            for (std::size_t i = 0; i < e.sums.size(); ++i)
                ASSERT_NEAR(e.sums[i], entry.sums[i], 1e-4 * entry.sums[i] + 1e-9) << tensor;
        }
}

// Layer 0 chooses experts by token, so its counts follow from the table alone.
TEST_F(CollectedFromNano, CountsAreTheRoutersChoices) {
    const auto matrix = collect(ids, 1000, resident());
    const auto& model = *test::nano();
    const auto k = static_cast<std::size_t>(model.config.experts_per_token);
    std::vector<std::int64_t> counts(static_cast<std::size_t>(model.config.experts));
    for (auto id : ids)
        for (std::size_t i = 0; i < k; ++i)
            ++counts[static_cast<std::size_t>(
                model.weights.layers[0].table[static_cast<std::size_t>(id) * k + i])];
    for (const char* part : {"gate", "up", "down"})
        EXPECT_EQ(matrix.entries().at(fmt::format("blk.0.ffn_{}_exps.weight", part)).counts, counts);
}

}  // namespace
}  // namespace cachalot
