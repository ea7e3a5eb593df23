// Prompts of which only the last tokens go through all layers (EngineOptions::decoder_prefill).
#include <gmock/gmock.h>

#include <map>

#include "engine/scheduler_test.h"
#include "support/each_model.h"

namespace cachalot {
namespace {

using test::part;
using test::sequence;
using test::Tokens;
using test::tokens_of;

constexpr int kWhole = 50;  // tokens at the end that go through all layers

EngineOptions options(int whole, int chunk = 512) {
    EngineOptions o{2, Precision::exact, KvPrecision::reference, chunk};
    o.decoder_prefill = whole;
    return o;
}

Tokens answer(Engine& engine, KvState& state, std::span<float> logits, int tokens) {
    Tokens written;
    while (static_cast<int>(written.size()) < tokens) {
        written.push_back(test::argmax(logits));
        logits = engine.step(state, std::span(&written.back(), 1), RowsKind::decode);
    }
    return written;
}

class DecoderPrefill : public test::SchedulerTest, public test::ForEachModel {
  protected:
    static std::vector<float> copy(std::span<const float> v) { return {v.begin(), v.end()}; }
    std::vector<float> read(const EngineOptions& o, const Tokens& prompt) {
        Engine engine(model(), o);
        auto state = engine.new_state();
        return copy(engine.prefill(state, prompt));
    }
};
CACHALOT_FOR_MODELS(DecoderPrefill, "nano41", "tiny41");

TEST_P(DecoderPrefill, LeavesTheLastLayersOutForAllButTheLastTokens) {
    Engine engine(model(), options(kWhole, 128));
    const Config& config = engine.model().config;
    std::map<int, std::size_t> rows;
    engine.observe_layers([&](const LayerView& view) {
        rows[view.layer] += view.experts.size() / static_cast<std::size_t>(config.experts_per_token);
    });
    auto state = engine.new_state();
    engine.prefill(state, part(text, 0, 400));
    EXPECT_EQ(state.length(), 400);
    EXPECT_EQ(state.context_end(), 350);
    for (int l = 0; l < config.layers; ++l)
        EXPECT_EQ(rows[l], l < config.context_layers_end() ? 400u : 50u) << l;
}

TEST_P(DecoderPrefill, ShortPromptsAreReadAsEver) {
    for (std::size_t n : {1u, 49u, 50u, 113u})
        EXPECT_EQ(read(options(kWhole), part(text, 0, n)), read(options(0), part(text, 0, n))) << n;
    EXPECT_NE(read(options(kWhole), part(text, 0, 114)), read(options(0), part(text, 0, 114)));
}

// What is left out does not depend on how a prompt is cut, and nothing that is there is read from what is
// not: a state whose memory was used before gives the same.
TEST_P(DecoderPrefill, AnyChunkGivesTheSame) {
    const auto prompt = part(text, 0, 470);
    const auto expected = read(options(kWhole), prompt);
    for (int chunk : {33, 64, 200}) EXPECT_EQ(read(options(kWhole, chunk), prompt), expected) << chunk;
    Engine engine(model(), options(kWhole));
    {
        auto other = engine.new_state();
        engine.prefill(other, prose);
    }
    auto state = engine.new_state();
    EXPECT_EQ(copy(engine.prefill(state, prompt)), expected);
}

// A prompt takes as many passes as if all of it went through all layers, so that no expert is read twice.
TEST_P(DecoderPrefill, TakesNoMorePasses) {
    struct Cost {
        int passes = 0;
        std::uint64_t read = 0;  // bytes of experts
    };
    const auto cost = [&](int whole, std::size_t tokens, bool scheduled) {
        auto o = options(whole, 512);
        o.expert_cache = ExpertBudget("25%", "a cache");
        Engine engine(model(), o);
        Cost all;
        engine.observe_layers([&](const LayerView& view) { all.passes += view.layer == 0; });
        const auto prompt = part(text, 0, tokens);
        if (scheduled) {
            Scheduler scheduler(engine, {});
            scheduler.submit(sequence(engine, prompt, 1));
            while (scheduler.busy()) scheduler.step();
        } else {
            auto state = engine.new_state();
            engine.prefill(state, prompt);
        }
        all.read = engine.expert_stats()->prompt.bytes_read;
        return all;
    };
    for (const bool scheduled : {false, true})
        for (const std::size_t tokens : {500u, 900u}) {
            const Cost some = cost(kWhole, tokens, scheduled), exact = cost(0, tokens, scheduled);
            EXPECT_EQ(some.passes, exact.passes) << tokens << scheduled;
            EXPECT_LE(some.read, exact.read) << tokens << scheduled;
            EXPECT_GT(some.read, 0u);
        }
}

// The rows that the last layers read of the whole prompt are exact, and so is what they make of a prompt
// whose last tokens are all that their windows reach.
TEST_P(DecoderPrefill, IsCloseToExact) {
    const auto prompt = part(text, 0, 900);
    const auto exact = read(options(0), prompt);
    double before = test::largest_difference(read(options(8), prompt), exact);
    const double whole = test::largest_difference(read(options(600), prompt), exact);
    EXPECT_LT(whole, before);
    EXPECT_GT(before, 0);
}

TEST_P(DecoderPrefill, ForksCheckpointsAndRollbacksContinueTheSame) {
    Engine engine(model(), options(kWhole));
    auto state = engine.new_state();
    auto logits = copy(engine.prefill(state, part(text, 0, 300)));
    auto fork = state.fork();
    const auto saved = state.checkpoint();
    const auto written = answer(engine, state, logits, 12);
    EXPECT_EQ(answer(engine, fork, logits, 12), written);
    auto restored = engine.new_state();
    restored.restore(saved);
    EXPECT_EQ(restored.context_end(), 250);
    EXPECT_EQ(answer(engine, restored, logits, 12), written);
    restored.rollback(300);
    EXPECT_EQ(answer(engine, restored, logits, 12), written);
    // A second prompt, of which the beginning is context again.
    const auto more = part(text, 300, 200);
    const auto next = copy(engine.prefill(state, more));
    EXPECT_EQ(state.context_end(), 312 + 150);
    EXPECT_EQ(copy(engine.prefill(fork, more)), next);
}

// Sequences that read, whole or as context, and sequences that write share passes; each gets what it gets
// alone.
TEST_P(DecoderPrefill, ManyAtOnceGiveWhatEachGivesAlone) {
    const std::size_t lengths[] = {20, 130, 333, 480};
    std::vector<Tokens> expected;
    for (auto n : lengths) {
        Engine engine(model(), options(kWhole, 96));
        Scheduler scheduler(engine, {});
        auto s = sequence(engine, part(text, n, n), 10);
        scheduler.submit(s);
        while (scheduler.busy()) scheduler.step();
        expected.push_back(tokens_of(*s));
    }
    Engine engine(model(), options(kWhole, 96));
    SchedulerOptions many;
    many.beside = 40;
    Scheduler scheduler(engine, many);
    std::vector<std::shared_ptr<Sequence>> all;
    for (auto n : lengths) {
        all.push_back(sequence(engine, part(text, n, n), 10));
        scheduler.submit(all.back());
        for (int i = 0; i < 3; ++i) scheduler.step();
    }
    while (scheduler.busy()) scheduler.step();
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(tokens_of(*all[i]), expected[i]) << lengths[i];
}

// A state that others continue from has been read whole for as many tokens as at the end of a prompt.
TEST_P(DecoderPrefill, KeptStatesEndInWholeTokens) {
    Engine engine(model(), options(kWhole, 128));
    Scheduler scheduler(engine, {});
    SequenceOptions with_header;
    with_header.header = 300;
    auto first = sequence(engine, part(text, 0, 420), 4, with_header);
    scheduler.submit(first);
    while (scheduler.busy()) scheduler.step();
    for (std::size_t n : {292u, 420u}) {
        const auto found = scheduler.prefixes().find("", part(text, 0, n));
        ASSERT_EQ(found.kept(), 292);
        auto state = engine.new_state();
        state.restore(*found.state);
        EXPECT_LE(state.context_end(), 292 - kWhole);
    }
    auto again = sequence(engine, part(text, 0, 420), 4);
    scheduler.submit(again);
    while (scheduler.busy()) scheduler.step();
    EXPECT_EQ(again->cached(), 292);
    EXPECT_EQ(tokens_of(*again).size(), 424u);
}

TEST(DecoderPrefillOptions, AreRefusedWhereTheyMeanNothing) {
    auto error = [](const std::shared_ptr<const Model>& model, const EngineOptions& o) -> std::string {
        try {
            Engine(model, o);
        } catch (const Error& e) {
            return e.what();
        }
        return "";
    };
    const auto v41 = test::model_named("tiny41");
    EXPECT_THAT(error(test::nano(), options(140)), testing::HasSubstr("decoder-prefill"));
    EXPECT_THAT(error(v41, options(-1)), testing::HasSubstr("out of range"));
    auto part = options(140);
    part.layers = layer_range(v41->config, 0, 3);
    EXPECT_THAT(error(v41, part), testing::HasSubstr("a part of the layers"));
    auto traced = options(140);
    traced.route_trace = "/dev/null";
    EXPECT_THAT(error(v41, traced), testing::HasSubstr("trace of routes"));
    EXPECT_EQ(error(v41, options(140)), "");
}

}  // namespace
}  // namespace cachalot
