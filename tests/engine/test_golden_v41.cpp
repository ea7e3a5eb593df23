// V4.1's forward pass against an independent implementation (tests/support/golden41.h).
//
// "plain" values have no rounding at all: ours are those of exact arithmetic and a state of f32. "Rounded"
// ones keep keys, values and operands of the indexer as the release does; a value next to a border of
// rounding moves what follows, so only short prompts agree closely, and of random weights even fewer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "model/engram_classes.h"
#include "sampling/logprobs.h"
#include "support/golden41.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using test::Model41;
using test::model41;

struct Differences {
    double mean = 0, percentile_99 = 0, last_logits = 0;
    double same_choice = 0;  // of the most probable token, which is on record for rounded values only
};

// Of the log-probabilities of a golden prompt's tokens. kind: "" or ".plain".
Differences differences(const Model41& golden, Engine& engine, const std::string& name,
                        const std::string& kind) {
    const auto ids = golden.ids(name + ".ids"), choices = golden.ids(name + ".argmax");
    const auto expected = golden.floats(name + kind + ".next_logprob");
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    auto state = engine.new_state();
    std::vector<double> found;
    double sum = 0, same = 0;
    Differences result;
    constexpr std::size_t kChunk = 256;
    for (std::size_t first = 0; first < ids.size(); first += kChunk) {
        const auto chunk = std::span(ids).subspan(first, std::min(kChunk, ids.size() - first));
        const auto logits = engine.step(state, chunk, RowsKind::prompt, Batch::Logits::all);
        for (std::size_t i = 0; i < chunk.size(); ++i) {
            const auto row = logits.subspan(i * vocab, vocab);
            same += test::argmax(row) == choices[first + i];
            if (first + i + 1 == ids.size()) {
                const auto last = golden.floats(name + kind + ".last_logits");
                result.last_logits = test::largest_difference(row, last);
                EXPECT_EQ(test::argmax(row), test::argmax(last));
                continue;
            }
            const double logprob = row[static_cast<std::size_t>(ids[first + i + 1])] - log_sum_exp(row);
            found.push_back(std::fabs(logprob - expected[first + i]));
            sum += found.back();
        }
    }
    std::sort(found.begin(), found.end());
    result.mean = sum / static_cast<double>(found.size());
    result.percentile_99 = found[found.size() * 99 / 100];
    result.same_choice = same / static_cast<double>(ids.size());
    return result;
}

struct Prompt {
    const char *model, *name;
};
void PrintTo(const Prompt& prompt, std::ostream* out) { *out << prompt.model << ' ' << prompt.name; }
std::string name_of(const testing::TestParamInfo<Prompt>& info) {
    return std::string(info.param.model) + "_" + info.param.name;
}

class PlainPrompt41 : public testing::TestWithParam<Prompt> {};
// Of tiny41's longest prompt the two independent implementations differ, too: near ties fall either way.
INSTANTIATE_TEST_SUITE_P(Prompts, PlainPrompt41,
                         testing::Values(Prompt{"nano41", "capital"}, Prompt{"nano41", "think_sum"},
                                         Prompt{"nano41", "prose"}, Prompt{"nano41", "tool"},
                                         Prompt{"nano41", "retrieval_1k"}, Prompt{"nano41", "retrieval_4k"},
                                         Prompt{"tiny41", "capital"}, Prompt{"tiny41", "think_sum"},
                                         Prompt{"tiny41", "prose"}, Prompt{"tiny41", "tool"},
                                         Prompt{"tiny41", "retrieval_1k"}),
                         name_of);

TEST_P(PlainPrompt41, LogProbabilitiesInExactArithmetic) {
    const Model41& golden = model41(GetParam().model);
    auto engine = golden.exact();
    const auto d = differences(golden, engine, GetParam().name, ".plain");
    EXPECT_LE(d.mean, 2e-4);
    EXPECT_LE(d.percentile_99, 5e-3);
    EXPECT_LE(d.last_logits, 2e-3);
}

class RoundedPrompt41 : public testing::TestWithParam<Prompt> {};
INSTANTIATE_TEST_SUITE_P(Prompts, RoundedPrompt41,
                         testing::Values(Prompt{"nano41", "capital"}, Prompt{"nano41", "think_sum"},
                                         Prompt{"tiny41", "capital"}, Prompt{"tiny41", "think_sum"}),
                         name_of);

TEST_P(RoundedPrompt41, LogProbabilitiesWithTheReleasesRounding) {
    const Model41& golden = model41(GetParam().model);
    auto engine = golden.exact(KvPrecision::reference);
    const auto d = differences(golden, engine, GetParam().name, "");
    EXPECT_LE(d.mean, 2e-4);
    EXPECT_LE(d.percentile_99, 5e-3);
    EXPECT_LE(d.last_logits, 2e-3);
    EXPECT_EQ(d.same_choice, 1.0);
}

// Longer prompts of the trained model: twice what two independent implementations differ by.
TEST(Rounded41, LongerPromptsOfTheTrainedModelStayClose) {
    const Model41& golden = model41("nano41");
    auto engine = golden.exact(KvPrecision::reference);
    for (const auto& [name, mean] :
         {std::pair("prose", 4.9e-3), std::pair("tool", 5e-3), std::pair("retrieval_1k", 4.8e-3)}) {
        const auto d = differences(golden, engine, name, "");
        EXPECT_LE(d.mean, 2 * mean) << name;
        EXPECT_GE(d.same_choice, 0.995) << name;
    }
}

class EachModel41 : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, EachModel41, testing::Values("nano41", "tiny41"),
                         [](const auto& param) { return std::string(param.param); });

std::vector<std::int32_t> greedy(Engine& engine, std::span<const std::int32_t> prompt, std::size_t most) {
    auto state = engine.new_state();
    auto logits = engine.prefill(state, prompt);
    std::vector<std::int32_t> answer;
    while (answer.size() < most) {
        answer.push_back(test::argmax(logits));
        if (answer.back() == engine.model().config.eos) break;
        logits = engine.step(state, std::span(&answer.back(), 1), RowsKind::decode);
    }
    return answer;
}

TEST_P(EachModel41, GreedyAnswers) {
    const Model41& golden = model41(GetParam());
    const bool trained = GetParam() == std::string("nano41");
    auto engine = golden.exact(KvPrecision::reference);
    for (const std::string name : {"capital", "think_sum"}) {
        auto expected = golden.ids(name + ".greedy");
        if (!trained) expected.resize(16);  // random weights magnify differences
        EXPECT_EQ(greedy(engine, golden.ids(name + ".ids"), expected.size()), expected) << name;
    }
}

TEST_P(EachModel41, StreamsAndExpertsOfEveryLayer) {
    const Model41& golden = model41(GetParam());
    auto engine = golden.exact(KvPrecision::reference);
    const auto k = engine.model().config.experts_per_token;
    int layers = 0;
    engine.observe_layers([&](const LayerView& view) {
        const auto name = "capital.layer" + std::to_string(view.layer);
        EXPECT_LT(test::largest_difference(view.streams, golden.floats(name + ".streams")), 1e-3) << name;
        std::vector<std::int32_t> sorted(view.experts.begin(), view.experts.end());
        for (auto row = sorted.begin(); row != sorted.end(); row += k) std::sort(row, row + k);
        EXPECT_EQ(sorted, golden.ids(name + ".experts")) << name;
        ++layers;
    });
    auto state = engine.new_state();
    engine.prefill(state, golden.ids("capital.ids"));
    EXPECT_EQ(layers, engine.model().config.layers);
}

TEST_P(EachModel41, ClassesOfTokensAndRowsOfTables) {
    const Model41& golden = model41(GetParam());
    const Model& model = *golden.model();
    EXPECT_EQ(engram_classes(model.tokenizer), golden.ids("engram.token_map"));
    const auto& layers = model.config.engram.layers;
    for (const std::string name : {"capital", "retrieval_1k"})
        for (std::size_t table = 0; table < layers.size(); ++table) {
            std::vector<std::int64_t> rows;
            model.engram_hash.rows(static_cast<int>(table), {}, golden.ids(name + ".ids"), rows);
            const auto expected = golden.ids(name + ".engram" + std::to_string(layers[table]) + ".rows");
            EXPECT_TRUE(std::equal(rows.begin(), rows.end(), expected.begin(), expected.end()))
                << name << " table " << table;
        }
}

// Which compressed rows each token of a long prompt attends to, at every layer that chooses: the same lists,
// but for the few entries that a value which was rounded to the other side has moved. Random weights magnify
// those from layer to layer, so of tiny41 the first layer that chooses is compared.
TEST_P(EachModel41, ChosenRows) {
    const Model41& golden = model41(GetParam());
    const bool trained = GetParam() == std::string("nano41");
    auto engine = golden.exact(KvPrecision::reference);
    const auto ids = golden.ids("retrieval_1k.ids");
    const Config& config = engine.model().config;
    const auto k = static_cast<std::size_t>(config.index_top_k);
    std::map<int, std::vector<std::int32_t>> chosen;  // [layer] of [tokens, k], -1 behind the last
    std::size_t first = 0;
    engine.observe_layers([&](const LayerView& view) {
        if (view.selected.empty()) return;
        const auto ratio = static_cast<std::size_t>(config.shape(view.layer).ratio);
        for (std::size_t row = 0; row < view.selected.size() / k; ++row) {
            const std::size_t visible = (first + row + 1) / ratio;
            for (std::size_t i = 0; i < k; ++i)
                chosen[view.layer].push_back(visible > k   ? view.selected[row * k + i]
                                             : i < visible ? static_cast<std::int32_t>(i)
                                                           : -1);
        }
    });
    auto state = engine.new_state();
    for (; first < ids.size(); first += 128)
        engine.prefill(state, std::span(ids).subspan(first, std::min<std::size_t>(128, ids.size() - first)));
    EXPECT_GE(chosen.size(), 4u);
    if (!trained) chosen.erase(std::next(chosen.begin()), chosen.end());
    for (const auto& [layer, lists] : chosen) {
        const auto name = "retrieval_1k.index" + std::to_string(layer);
        ASSERT_TRUE(golden.has(name)) << name;
        const auto expected = golden.ids(name);
        ASSERT_EQ(lists.size(), expected.size()) << name;
        std::size_t different = 0, differ = 0;  // entries, lists
        for (std::size_t row = 0; row < ids.size(); ++row) {
            const auto ours = std::span(lists).subspan(row * k, k),
                       theirs = std::span(expected).subspan(row * k, k);
            EXPECT_TRUE(std::ranges::is_sorted(ours) || ours.back() == -1) << row;
            std::vector<std::int32_t> only;
            const std::set<std::int32_t> a(ours.begin(), ours.end()), b(theirs.begin(), theirs.end());
            std::ranges::set_difference(a, b, std::back_inserter(only));
            different += only.size();
            differ += !only.empty();
        }
        EXPECT_LE(different, lists.size() / 250) << name;
        EXPECT_LE(differ, ids.size() / (layer == chosen.begin()->first ? 50 : 5)) << name;
    }
}

// The lengths lie around the borders of the window, of groups and of blocks of candidates. The values are
// rounded, and one that falls to the other side of a border of rounding moves what follows.
TEST(Golden41, LastLogitsAtEveryBorder) {
    const Model41& golden = model41("nano41");
    auto engine = golden.exact(KvPrecision::reference);
    const auto ids = golden.ids("prefix.ids");
    int lengths = 0, close = 0;
    for (std::size_t n = 1; n <= ids.size(); ++n) {
        const auto name = "prefix" + std::to_string(n) + ".last_logits";
        if (!golden.has(name)) continue;
        auto state = engine.new_state();
        const double difference =
            test::largest_difference(engine.prefill(state, std::span(ids).first(n)), golden.floats(name));
        EXPECT_LT(difference, n < 100 ? 2e-3 : 0.5) << n;
        close += difference < 2e-2;
        ++lengths;
    }
    EXPECT_GE(lengths, 20);
    EXPECT_GE(close, lengths * 3 / 4);
}

TEST(Default41, PrecisionCostsLittle) {
    const Model41& golden = model41("nano41");
    Engine engine(golden.model(), {2});
    const auto ids = golden.ids("val.ids");
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    auto state = engine.new_state();
    double sum = 0;
    for (std::size_t first = 0; first < 2048; first += 256) {
        const auto logits =
            engine.step(state, std::span(ids).subspan(first, 256), RowsKind::prompt, Batch::Logits::all);
        for (std::size_t i = 0; i < 256 && first + i < 2047; ++i) {
            const auto row = logits.subspan(i * vocab, vocab);
            sum += log_sum_exp(row) - row[static_cast<std::size_t>(ids[first + i + 1])];
        }
    }
    EXPECT_NEAR(sum / 2047, golden.floats("val.nll_2048")[0], 0.02);
}

}  // namespace
}  // namespace cachalot
