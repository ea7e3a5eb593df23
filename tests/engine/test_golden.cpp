// The whole forward pass against an independent implementation (tests/support/nano.h).
#include <gtest/gtest.h>

#include <map>

#include "sampling/logprobs.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using test::Golden;

class GoldenPrompt : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Prompts, GoldenPrompt,
                         testing::Values("capital", "think_sum", "prose", "tool", "retrieval_1k",
                                         "retrieval_4k"),
                         [](const auto& param) { return param.param; });

TEST_P(GoldenPrompt, LogProbabilitiesInExactArithmetic) {
    std::string name = GetParam();
    auto engine = test::exact_engine();
    auto state = engine.new_state();
    auto ids = Golden::ids(name + ".ids");
    auto argmax = Golden::ids(name + ".argmax");
    auto expected = Golden::floats(name + ".next_logprob");
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    std::vector<double> differences;
    double sum = 0;
    std::size_t agree = 0;
    constexpr std::size_t kChunk = 256;
    for (std::size_t first = 0; first < ids.size(); first += kChunk) {
        auto chunk = std::span(ids).subspan(first, std::min(kChunk, ids.size() - first));
        auto logits = engine.step(state, chunk, RowsKind::prompt, Batch::Logits::all);
        for (std::size_t i = 0; i < chunk.size(); ++i) {
            auto row = logits.subspan(i * vocab, vocab);
            agree += test::argmax(row) == argmax[first + i];
            if (first + i + 1 == ids.size()) {
                EXPECT_LT(test::largest_difference(row, Golden::floats(name + ".last_logits")), 2e-3);
            } else {
                double logprob = row[static_cast<std::size_t>(ids[first + i + 1])] - log_sum_exp(row);
                differences.push_back(std::fabs(logprob - expected[first + i]));
                sum += differences.back();
            }
        }
    }
    std::sort(differences.begin(), differences.end());
    EXPECT_LE(sum / static_cast<double>(differences.size()), 2e-4);
    EXPECT_LE(differences[differences.size() * 99 / 100], 5e-3);
    EXPECT_GE(static_cast<double>(agree) / static_cast<double>(ids.size()), 0.998);
}

std::vector<std::int32_t> greedy(Engine& engine, const std::string& name) {
    auto state = engine.new_state();
    auto ids = Golden::ids(name + ".ids");
    std::vector<std::int32_t> answer;
    auto logits = engine.prefill(state, ids);
    while (answer.size() < Golden::ids(name + ".greedy").size()) {
        answer.push_back(test::argmax(logits));
        if (answer.back() == engine.model().config.eos) break;
        logits = engine.prefill(state, std::span(&answer.back(), 1));
    }
    return answer;
}

TEST(GoldenGreedy, ContinuationsInExactArithmetic) {
    auto engine = test::exact_engine();
    for (std::string name : {"capital", "think_sum", "prose", "tool"})
        EXPECT_EQ(greedy(engine, name), Golden::ids(name + ".greedy")) << name;
}

TEST(GoldenGreedy, AnswersInDefaultPrecision) {
    Engine engine(test::nano(), {2});
    for (std::string name : {"capital", "tool"})
        EXPECT_EQ(greedy(engine, name), Golden::ids(name + ".greedy")) << name;
}

TEST(GoldenLayers, StreamsAndExpertsOfEveryLayer) {
    auto engine = test::exact_engine();
    auto state = engine.new_state();
    auto ids = Golden::ids("capital.ids");
    auto k = static_cast<std::size_t>(engine.model().config.experts_per_token);
    int layers = 0;
    engine.observe_layers([&](const LayerView& view) {
        auto prefix = "capital.layer" + std::to_string(view.layer);
        EXPECT_LT(test::largest_difference(view.streams, Golden::floats(prefix + ".streams")), 1e-3)
            << prefix;
        std::vector<std::int32_t> sorted(view.experts.begin(), view.experts.end());
        for (std::size_t i = 0; i < sorted.size(); i += k)
            std::sort(sorted.begin() + i, sorted.begin() + i + k);
        EXPECT_EQ(sorted, Golden::ids(prefix + ".experts")) << prefix;
        ++layers;
    });
    engine.prefill(state, ids);
    EXPECT_EQ(layers, engine.model().config.layers);
}

// The lengths lie around the borders of the window, of groups of 4 and 128, and of the indexer's top-k.
TEST(GoldenPrefix, LastLogitsAtEveryBorder) {
    auto engine = test::exact_engine();
    auto ids = Golden::ids("prefix.ids");
    for (std::size_t n : {1,   2,   3,   4,   5,   7,   8,   9,   127, 128, 129,  131,  132,
                          133, 255, 256, 257, 511, 512, 513, 516, 517, 640, 1024, 1025, 1100}) {
        auto state = engine.new_state();
        auto logits = engine.prefill(state, std::span(ids).first(n));
        EXPECT_LT(
            test::largest_difference(logits, Golden::floats("prefix" + std::to_string(n) + ".last_logits")),
            2e-3)
            << n;
    }
}

TEST(GoldenNll, DefaultPrecisionCostsLittle) {
    Engine engine(test::nano(), {2});
    auto ids = Golden::ids("val.ids");
    auto expected = Golden::floats("val.nll_2048");
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    auto state = engine.new_state();
    double sum = 0;
    for (std::size_t first = 0; first < 2048; first += 256) {
        auto logits =
            engine.step(state, std::span(ids).subspan(first, 256), RowsKind::prompt, Batch::Logits::all);
        for (std::size_t i = 0; i < 256 && first + i < 2047; ++i) {
            auto row = logits.subspan(i * vocab, vocab);
            sum += log_sum_exp(row) - row[static_cast<std::size_t>(ids[first + i + 1])];
        }
    }
    EXPECT_NEAR(sum / 2047, expected[0], 0.02);
}

}  // namespace
}  // namespace cachalot
