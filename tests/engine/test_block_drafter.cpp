// The DSpark drafter of nano41 and tiny41 against what an independent implementation computes from the same
// weights, and what drafters of both kinds leave in the states.
#include <fmt/format.h>

#include <algorithm>

#include "engine/block_drafter.h"
#include "engine/scheduler_test.h"
#include "state/kv_codec.h"
#include "support/each_model.h"
#include "support/golden41.h"

namespace cachalot {
namespace {

using test::Tokens;

EngineOptions with_drafter(Precision precision = Precision::exact, KvPrecision kv = KvPrecision::reference) {
    EngineOptions options{2, precision, kv};
    options.drafter = true;
    return options;
}

std::int32_t best(std::span<const float> logits) {
    return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

std::int32_t best_of(std::span<float> logits) { return best(logits); }

// The block behind a prompt and its first token. The reference computes with rounded caches (FP8, FP4): where
// a value lies at the border of two roundings, as some do in longer prompts, the last bits of a sum decide,
// and then whole logits differ, with every instruction set in another place. The drafted tokens of the
// trained model do not.
struct Prompt {
    const char *model, *name;
    bool to_the_last_bits;
};
class BlockDrafterGolden : public testing::TestWithParam<Prompt> {};

INSTANTIATE_TEST_SUITE_P(
    Prompts, BlockDrafterGolden,
    testing::Values(Prompt{"nano41", "capital", true}, Prompt{"nano41", "think_sum", true},
                    Prompt{"tiny41", "capital", true}, Prompt{"nano41", "prose", false},
                    Prompt{"nano41", "tool", false}, Prompt{"nano41", "retrieval_1k", false}),
    [](const auto& info) { return fmt::format("{}_{}", info.param.model, info.param.name); });

TEST_P(BlockDrafterGolden, DraftsWhatTheReferenceDrafts) {
    const auto& golden = test::model41(GetParam().model);
    const std::string name = GetParam().name;
    Engine engine(golden.model(), with_drafter());
    BlockDrafter drafter(engine);
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    const auto expected = golden.ids(name + ".draft");
    const auto logits = golden.floats(name + ".draft_logits");
    const auto confidence = golden.floats(name + ".draft_confidence");
    ASSERT_EQ(std::ssize(expected), drafter.block_size());
    auto state = engine.new_state();
    const auto first = best(engine.prefill(state, golden.ids(name + ".ids")));
    double worst = 0;
    drafter.observe([&](int, int row, bool biased, std::span<const float> here) {
        const auto there = std::span(logits).subspan(static_cast<std::size_t>(row) * vocab, vocab);
        if (biased) worst = std::max(worst, test::largest_difference(here, there));
    });
    const BlockDrafter::Request request{&state, first, drafter.block_size(), best_of};
    const auto draft = drafter.propose({&request, 1}).front();
    EXPECT_EQ(draft.tokens, expected);
    if (!GetParam().to_the_last_bits) return;
    EXPECT_LT(worst, 2e-3);
    EXPECT_LT(test::largest_difference(draft.confidences, confidence), 2e-3);
}

class ModelDrafterStates : public test::SchedulerTest, public test::ForEachModel {};

CACHALOT_FOR_MODELS(ModelDrafterStates, "nano41", "nano_mtp");

// However the tokens came: in chunks longer than the window, in small ones, or one by one.
TEST_P(ModelDrafterStates, TheDraftDoesNotDependOnThePasses) {
    Engine engine(model(), with_drafter());
    const auto drafter = make_model_drafter(engine);
    const auto tokens = lengthy(450);
    std::vector<ModelDrafter::Draft> drafts;
    for (const std::size_t chunk : {450, 200, 7, 1}) {
        auto state = engine.new_state();
        for (std::size_t done = 0; done < tokens.size(); done += chunk)
            engine.step(state, test::part(tokens, done, std::min(chunk, tokens.size() - done)),
                        chunk == 1 ? RowsKind::decode : RowsKind::prompt);
        const ModelDrafter::Request request{&state, 77, drafter->block_size(), best_of};
        drafts.push_back(drafter->propose({&request, 1}).front());
    }
    for (const auto& draft : drafts) {
        EXPECT_EQ(draft.tokens, drafts.front().tokens);
        EXPECT_EQ(draft.confidences, drafts.front().confidences);
    }
}

// Several sequences are drafted for as each is alone, and a sequence that wants fewer tokens gets the first.
TEST_P(ModelDrafterStates, DraftsTogetherAreThoseOfEach) {
    Engine engine(model(), with_drafter());
    const auto drafter = make_model_drafter(engine);
    const auto tokens = lengthy(300);
    std::vector<KvState> states;
    for (const std::size_t length : {1, 40, 129, 300}) {
        states.push_back(engine.new_state());
        engine.prefill(states.back(), test::part(tokens, 0, length));
    }
    std::vector<ModelDrafter::Request> requests;
    for (std::size_t i = 0; i < states.size(); ++i)
        requests.push_back(
            {&states[i], static_cast<std::int32_t>(100 + i), 1 + static_cast<int>(i), best_of});
    const auto together = drafter->propose(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const auto alone = drafter->propose({&requests[i], 1}).front();
        EXPECT_EQ(std::ssize(alone.tokens), std::min(requests[i].most, drafter->block_size()));
        EXPECT_EQ(together[i].tokens, alone.tokens);
        EXPECT_EQ(together[i].confidences, alone.confidences);
    }
}

// A draft leaves nothing behind: neither in what is kept nor for drafts to come.
TEST_P(ModelDrafterStates, AStateAfterADraftIsTheStateBefore) {
    Engine engine(model(), with_drafter());
    const auto drafter = make_model_drafter(engine);
    const auto tokens = lengthy(270);
    auto state = engine.new_state();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool look = i % 31 == 5 || i > 250;
        if (look) {
            const auto before = state.checkpoint().rings;
            const ModelDrafter::Request request{&state, 9, drafter->block_size(), best_of};
            const auto draft = drafter->propose({&request, 1}).front();
            ASSERT_EQ(state.checkpoint().rings, before) << i;
            ASSERT_EQ(drafter->propose({&request, 1}).front().confidences, draft.confidences);
        }
        engine.step(state, test::part(tokens, i, 1), RowsKind::decode);
    }
    // As far back as may be, the window is whole.
    const auto length = state.length() - kRollback;
    auto other = engine.new_state();
    engine.prefill(other, test::part(tokens, 0, static_cast<std::size_t>(length)));
    state.rollback(length);
    EXPECT_EQ(state.checkpoint().rings, other.checkpoint().rings);
}

// States pass between engines with a drafter and without: what the one does not know is left out.
TEST_P(ModelDrafterStates, AreOfUseWithoutADrafterAndTheOtherWayRound) {
    Engine with(model(), with_drafter()), without(model(), {2, Precision::exact});
    const auto tokens = lengthy(300);
    auto restored = [&](const Engine& from, const KvState& state, Engine& to) {
        const KvCheckpoint saved = state.checkpoint();
        const KvCodec source(from.kv_pool()), target(to.kv_pool());
        auto bytes = source.no_bytes();
        bytes.resize(static_cast<std::size_t>(source.rows_bytes(0, saved.length)));
        source.write_rows(saved, 0, tokens, bytes);
        KvCheckpoint moved = target.beginning(nullptr, {});
        target.make_room(moved, saved.length);
        EXPECT_TRUE(target.read_rows(moved, tokens, bytes));
        EXPECT_TRUE(target.are_rings(std::ssize(saved.rings), saved.length));
        moved.rings.assign(saved.rings.begin(), saved.rings.end());
        auto there = to.new_state();
        there.restore(moved);
        return there;
    };
    auto a = with.new_state(), b = without.new_state();
    with.prefill(a, tokens);
    without.prefill(b, tokens);
    auto next = [](Engine& engine, KvState& state) {
        const auto logits = engine.step(state, Tokens{5}, RowsKind::decode);
        return std::vector<float>(logits.begin(), logits.end());
    };
    auto c = restored(without, b, with), d = restored(with, a, without);
    EXPECT_EQ(c.draft_begin(), c.length());  // nothing is known before it
    EXPECT_EQ(a.draft_begin(), 0);
    const auto expected = next(with, a);
    EXPECT_EQ(next(without, b), expected);
    EXPECT_EQ(next(with, c), expected);
    EXPECT_EQ(next(without, d), expected);
    // After a window the drafter knows all that it would have known.
    const auto drafter = make_model_drafter(with);
    for (int i = 0; i < 140; ++i)
        for (KvState* state : {&a, &c}) with.step(*state, test::part(text, i % 50, 1), RowsKind::decode);
    const ModelDrafter::Request requests[] = {{&a, 5, 3, best_of}, {&c, 5, 3, best_of}};
    const auto drafts = drafter->propose(requests);
    EXPECT_EQ(drafts[0].confidences, drafts[1].confidences);
}

}  // namespace
}  // namespace cachalot
