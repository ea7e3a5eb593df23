// nano whole on a card: the golden values, and what must not change a result.
#include <numeric>

#include "base/error.h"
#include "cuda/card.h"
#include "sampling/logprobs.h"
#include "state/kv_codec.h"
#include "support/each_model.h"

namespace cachalot {
namespace {

using test::card;
using test::Golden;

std::vector<float> copy(std::span<const float> v) { return {v.begin(), v.end()}; }

EngineOptions on_card(KvPrecision kv = KvPrecision::f32) {
    EngineOptions options{2, Precision::exact, kv};
    options.device = card();
    return options;
}

class CardGolden : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Prompts, CardGolden,
                         testing::Values("capital", "think_sum", "prose", "tool", "retrieval_1k",
                                         "retrieval_4k"),
                         [](const auto& param) { return param.param; });

TEST_P(CardGolden, LogProbabilities) {
    CACHALOT_NEEDS_CARD();
    const std::string name = GetParam();
    Engine engine(test::nano(), on_card());
    auto state = engine.new_state();
    const auto ids = Golden::ids(name + ".ids"), argmax = Golden::ids(name + ".argmax");
    const auto expected = Golden::floats(name + ".next_logprob");
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    const auto logits = test::all_logits(engine, state, ids, 256);
    std::vector<double> differences;
    std::size_t agree = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto row = std::span(logits).subspan(i * vocab, vocab);
        agree += test::argmax(row) == argmax[i];
        if (i + 1 < ids.size())
            differences.push_back(
                std::fabs(row[static_cast<std::size_t>(ids[i + 1])] - log_sum_exp(row) - expected[i]));
        else
            EXPECT_LT(test::largest_difference(row, Golden::floats(name + ".last_logits")), 2e-3);
    }
    std::sort(differences.begin(), differences.end());
    EXPECT_LE(std::accumulate(differences.begin(), differences.end(), 0.0) /
                  static_cast<double>(differences.size()),
              2e-4);
    EXPECT_LE(differences[differences.size() * 99 / 100], 5e-3);
    EXPECT_GE(static_cast<double>(agree) / static_cast<double>(ids.size()), 0.998);
}

TEST(CardGoldenAnswers, AreThoseOfTheGoldenValues) {
    CACHALOT_NEEDS_CARD();
    Engine engine(test::nano(), on_card());
    for (const std::string name : {"capital", "think_sum", "prose", "tool"}) {
        const auto expected = Golden::ids(name + ".greedy");
        auto state = engine.new_state();
        auto logits = engine.prefill(state, Golden::ids(name + ".ids"));
        std::vector<std::int32_t> answer;
        while (answer.size() < expected.size()) {
            answer.push_back(test::argmax(logits));
            if (answer.back() == engine.model().config.eos) break;
            logits = engine.step(state, std::span(&answer.back(), 1), RowsKind::decode);
        }
        EXPECT_EQ(answer, expected) << name;
    }
}

TEST(CardGoldenPrefix, LastLogitsAtEveryBorder) {
    CACHALOT_NEEDS_CARD();
    Engine engine(test::nano(), on_card());
    const auto ids = Golden::ids("prefix.ids");
    for (const std::size_t n : {1,   2,   3,   4,   5,   7,   8,   9,   127, 128, 129,  131,  132,
                                133, 255, 256, 257, 511, 512, 513, 516, 517, 640, 1024, 1025, 1100}) {
        auto state = engine.new_state();
        const auto logits = engine.prefill(state, std::span(ids).first(n));
        EXPECT_LT(
            test::largest_difference(logits, Golden::floats("prefix" + std::to_string(n) + ".last_logits")),
            2e-3)
            << n;
    }
}

TEST(CardGoldenLayers, StreamsAndExpertsOfEveryLayer) {
    CACHALOT_NEEDS_CARD();
    Engine engine(test::nano(), on_card());
    auto state = engine.new_state();
    const auto k = engine.model().config.experts_per_token;
    int layers = 0;
    engine.observe_layers([&](const LayerView& view) {
        const auto prefix = "capital.layer" + std::to_string(view.layer);
        EXPECT_LT(test::largest_difference(view.streams, Golden::floats(prefix + ".streams")), 1e-3)
            << prefix;
        std::vector<std::int32_t> sorted(view.experts.begin(), view.experts.end());
        for (auto at = sorted.begin(); at != sorted.end(); at += k) std::sort(at, at + k);
        EXPECT_EQ(sorted, Golden::ids(prefix + ".experts")) << prefix;
        ++layers;
    });
    engine.prefill(state, Golden::ids("capital.ids"));
    EXPECT_EQ(layers, engine.model().config.layers);
}

// The same numbers in any division of the text, and beside any other sequence: bit for bit.
TEST(CardPasses, ChunksAndCompanyChangeNothing) {
    CACHALOT_NEEDS_CARD();
    for (const auto kv : {KvPrecision::f32, KvPrecision::reference}) {
        Engine engine(test::nano(), on_card(kv));
        const auto ids = Golden::ids("prefix.ids"), other = Golden::ids("prose.ids");
        const auto text = std::span<const std::int32_t>(ids).first(420);
        auto whole = engine.new_state();
        const auto expected = test::all_logits(engine, whole, text, 420);
        for (const std::size_t chunk : {1, 3, 64, 65, 66, 130, 256}) {
            auto state = engine.new_state();
            EXPECT_EQ(test::all_logits(engine, state, text, chunk), expected) << chunk;
        }
        const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
        auto first = engine.new_state(), second = engine.new_state();
        for (std::size_t at = 0; std::size_t n : {200, 1, 1, 7, 100, 1}) {
            Batch batch;
            batch.add(second, std::span(other).subspan(at % 50, 1 + at % 40), RowsKind::prompt);
            batch.add(first, text.subspan(at, n), RowsKind::prompt, Batch::Logits::all);
            const auto logits = engine.step(batch).of(batch.sequences()[1]);
            at += n;
            EXPECT_EQ(copy(logits.last(vocab)),
                      std::vector<float>(expected.begin() + static_cast<std::ptrdiff_t>((at - 1) * vocab),
                                         expected.begin() + static_cast<std::ptrdiff_t>(at * vocab)));
        }
    }
}

// Recorded passes of one to five sequences, whose number changes, at depths of two classes.
TEST(CardPasses, RecordedOnesAreThoseThatAreNot) {
    CACHALOT_NEEDS_CARD();
    Engine recorded(test::nano(), on_card(KvPrecision::reference));
    auto options = on_card(KvPrecision::reference);
    Trace trace;
    options.trace = &trace;  // so that every box is waited for and nothing is recorded
    Engine eager(test::nano(), options);
    const auto ids = Golden::ids("retrieval_4k.ids");
    std::vector<KvState> a, b;
    for (std::size_t i = 0; i < 5; ++i) {
        for (auto* states : {&a, &b}) states->push_back((states == &a ? recorded : eager).new_state());
        const auto prompt = std::span(ids).first(i == 4 ? 2044 : 30 + 40 * i);
        EXPECT_EQ(copy(recorded.prefill(a[i], prompt)), copy(eager.prefill(b[i], prompt)));
    }
    for (std::size_t step = 0; step < 24; ++step) {
        const std::size_t first = step % 2, count = 1 + step % 5;
        const auto run = [&](Engine& engine, std::vector<KvState>& states) {
            Batch batch;
            for (std::size_t i = first; i < std::min<std::size_t>(5, first + count); ++i)
                batch.add(states[i], std::span(ids).subspan(100 + 10 * step + i, 1), RowsKind::decode);
            const auto output = engine.step(batch);
            return std::pair(copy(output.logits),
                             std::vector<std::int32_t>(output.experts.begin(), output.experts.end()));
        };
        EXPECT_EQ(run(recorded, a), run(eager, b)) << step;
    }
    EXPECT_FALSE(trace.spans().empty());
}

TEST(CardStates, AreForkedSavedRestoredAndTakenBack) {
    CACHALOT_NEEDS_CARD();
    const auto ids = Golden::ids("prefix.ids");
    Engine engine(test::nano(), on_card(KvPrecision::reference));
    auto expected_state = engine.new_state();
    engine.prefill(expected_state, std::span(ids).first(300));
    const auto rest = std::span(ids).subspan(300, 40);
    const auto expected = copy(engine.prefill(expected_state, rest));

    auto state = engine.new_state();
    engine.prefill(state, std::span(ids).first(300));
    auto fork = state.fork();
    const auto saved = state.checkpoint();
    const KvCodec codec(engine.kv_pool());
    std::vector<std::byte> rows(static_cast<std::size_t>(codec.rows_bytes(0, 300)));
    codec.write_rows(saved, 0, std::span(ids).first(300), rows);

    engine.prefill(state, std::span(ids).subspan(10, 50));  // other rows in the same places
    state.rollback(300);
    EXPECT_EQ(copy(engine.prefill(state, rest)), expected);
    EXPECT_EQ(copy(engine.prefill(fork, rest)), expected);
    auto restored = engine.new_state();
    restored.restore(saved);
    EXPECT_EQ(copy(engine.prefill(restored, rest)), expected);

    auto read = codec.beginning(nullptr, {});
    codec.make_room(read, 300);
    ASSERT_TRUE(codec.read_rows(read, std::span(ids).first(300), rows));
    read.rings = saved.rings;
    restored.restore(read);
    EXPECT_EQ(copy(engine.prefill(restored, rest)), expected);
}

// What was read on the host is continued on the card, and the other way round.
TEST(CardStates, AreThoseOfTheHost) {
    CACHALOT_NEEDS_CARD();
    const auto ids = Golden::ids("prefix.ids");
    Engine host(test::nano(), {2, Precision::exact, KvPrecision::f32}), there(test::nano(), on_card());
    const auto carry = [&](Engine& from, Engine& to) {
        auto state = from.new_state();
        from.prefill(state, std::span(ids).first(300));
        const auto saved = state.checkpoint();
        const KvCodec out(from.kv_pool()), in(to.kv_pool());
        std::vector<std::byte> rows(static_cast<std::size_t>(out.rows_bytes(0, 300)));
        out.write_rows(saved, 0, std::span(ids).first(300), rows);
        auto read = in.beginning(nullptr, {});
        in.make_room(read, 300);
        EXPECT_TRUE(in.read_rows(read, std::span(ids).first(300), rows));
        read.rings.assign(saved.rings.begin(), saved.rings.end());
        auto restored = to.new_state();
        restored.restore(read);
        const auto rest = std::span(ids).subspan(300, 40);
        EXPECT_LT(test::largest_difference(copy(to.prefill(restored, rest)), copy(from.prefill(state, rest))),
                  2e-3);
    };
    carry(host, there);
    carry(there, host);
}

// Needs no card.
TEST(CardModels, WhatCannotBeIsRefusedByName) {
    CACHALOT_NEEDS_CARD();
    EXPECT_THROW(Engine(test::model_named("tiny41"), on_card()), Error);
    auto options = on_card();
    options.drafter = true;
    EXPECT_THROW(Engine(test::nano_mtp(), options), Error);
    options = on_card();
    options.expert_cache = ExpertBudget("25%", "a test");
    EXPECT_THROW(Engine(test::nano(), options), Error);
    options = on_card();
    options.layers = LayerRange{0, 3};
    EXPECT_THROW(Engine(test::nano(), options), Error);
}

}  // namespace
}  // namespace cachalot
