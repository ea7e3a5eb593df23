// Drafts: what is proposed, whether it pays, and that an answer is the same with and without.
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "engine/lookup_drafter.h"
#include "engine/scheduler_test.h"
#include "support/golden41.h"

namespace cachalot {
namespace {

using test::Kind;
using test::Tokens;

// ---- look-up ----

// The longest match, of those the last; all places are compared.
Tokens expected_draft(const Tokens& all, int most) {
    std::size_t longest = LookupDrafter::kGram - 1, best = 0;
    for (std::size_t place = all.size() - 1; place >= LookupDrafter::kGram; --place) {
        std::size_t length = 0;
        while (length < LookupDrafter::kLongest && length < place &&
               all[place - 1 - length] == all[all.size() - 1 - length])
            ++length;
        if (length > longest) {
            longest = length;
            best = place;
        }
    }
    Tokens draft;
    if (longest < LookupDrafter::kGram) return draft;
    for (std::size_t i = best; draft.size() < static_cast<std::size_t>(most); ++i)
        draft.push_back(i < all.size() ? all[i] : draft[i - all.size()]);
    return draft;
}

RC_GTEST_PROP(LookupDrafter, FindsTheLongestMatchWhileTheSequenceGrows, ()) {
    const auto letters = *rc::gen::inRange(2, 6);
    const auto tokens = *rc::gen::container<Tokens>(rc::gen::inRange(0, letters));
    LookupDrafter drafter;
    for (std::size_t size = 1; size <= tokens.size(); size += *rc::gen::inRange(1, 9)) {
        const Tokens known(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(size));
        const int most = *rc::gen::inRange(0, 8);
        const auto draft = drafter.propose(known, most);
        if (size < LookupDrafter::kTries)  // further back not every place is looked at
            RC_ASSERT(draft == (most > 0 ? expected_draft(known, most) : Tokens()));
        RC_ASSERT(draft.size() <= static_cast<std::size_t>(most));
    }
}

TEST(LookupDrafter, GoesOnWithWhatFollowedAndWithPeriods) {
    LookupDrafter drafter;
    EXPECT_EQ(drafter.propose(Tokens{1, 2, 3, 4, 5, 9, 1, 2, 3}, 4), (Tokens{4, 5, 9, 1}));
    EXPECT_TRUE(LookupDrafter().propose(Tokens{1, 2, 3, 4, 5, 9, 8, 2, 3}, 4).empty());
    EXPECT_EQ(LookupDrafter().propose(Tokens{7, 8, 7, 8, 7, 8}, 5), (Tokens{7, 8, 7, 8, 7}));
    EXPECT_EQ(LookupDrafter().propose(Tokens{7, 7, 7, 7}, 3), (Tokens{7, 7, 7}));
    EXPECT_TRUE(LookupDrafter().propose(Tokens{}, 3).empty());
    EXPECT_TRUE(LookupDrafter().propose(Tokens{7, 7}, 3).empty());
}

// ---- the gate ----

// A processor on which a pass takes `fixed` seconds and `each` for every row.
DraftGate measured(double fixed, double each) {
    DraftGate gate;
    for (int i = 0; i < 40; ++i)
        for (int rows : {1, 9}) gate.passed(rows, fixed + each * rows);
    return gate;
}

DraftRecord right_in(int percent) {
    DraftRecord record;
    for (int i = 0; i < 200; ++i) record.judged(i * 37 % 100 < percent ? 1 : 0, 1);
    return record;
}

TEST(DraftGate, DraftsWhereRowsAreCheapAndDraftsAreRight) {
    EXPECT_EQ(measured(1, 0.01).length(right_in(100), 1, 0, 12), 12);
    EXPECT_EQ(measured(1, 0.01).length(right_in(100), 1, 0, 3), 3);
    EXPECT_EQ(measured(0, 1).length(right_in(100), 1, 0, 12), 0);  // a row costs as much as a pass
    EXPECT_EQ(measured(1, 0.5).length(right_in(0), 1, 0, 12), 0);  // never right
    const int alone = measured(1, 0.2).length(right_in(50), 1, 0, 12);
    EXPECT_GT(alone, 0);
    EXPECT_LT(alone, 12);                                            // the further, the less likely
    EXPECT_EQ(measured(1, 0.2).length(right_in(50), 16, 0, 12), 0);  // a pass is well used by many
}

// A pass that also reads a prompt is long, so tokens are dear and a draft pays sooner.
TEST(DraftGate, DraftsSoonerBesidePrompts) {
    const auto gate = measured(1, 0.3);
    const auto record = right_in(30);
    EXPECT_EQ(gate.length(record, 4, 0, 12), 0);
    EXPECT_GT(gate.length(record, 4, 128, 12), 0);
}

TEST(DraftGate, TriesAtFirstAndAgainAfterAWhile) {
    EXPECT_EQ(DraftGate().length(DraftRecord(), 1, 0, 5), 5);
    DraftGate gate = measured(1, 0.4);
    DraftRecord record = right_in(0);
    ASSERT_EQ(gate.length(record, 1, 0, 5), 0);
    int skipped = 0;
    for (; gate.length(record, 1, 0, 5) == 0 && skipped < 10'000; ++skipped) record.skipped();
    EXPECT_GT(skipped, 20);
    EXPECT_LT(skipped, 1000);
}

TEST(DraftGate, NoticesWhatChanges) {
    DraftGate gate = measured(1, 0.01);
    ASSERT_EQ(gate.length(right_in(100), 1, 0, 8), 8);
    for (int i = 0; i < 300; ++i)
        for (int rows : {1, 9}) gate.passed(rows, 1.0 * rows);
    EXPECT_EQ(gate.length(right_in(100), 1, 0, 8), 0);
}

// A further pass of the drafter is worth it while the token is likely enough to pay for pass and row.
TEST(DraftGate, TellsWhetherOneMoreTokenPays) {
    EXPECT_TRUE(DraftGate().pays(0, 1, 0));  // that is how it becomes known
    DraftGate gate = measured(1, 0.1);
    EXPECT_TRUE(gate.pays(0.2, 1, 0));
    EXPECT_FALSE(gate.pays(0.05, 1, 0));
    for (int i = 0; i < 100; ++i) gate.drafted(3, 0.9);  // 0.3 s each
    EXPECT_TRUE(gate.pays(0.5, 1, 0));
    EXPECT_FALSE(gate.pays(0.2, 1, 0));
    EXPECT_TRUE(gate.pays(0.2, 1, 64));  // beside a prompt tokens are dear
}

// ---- answers ----

class Drafts : public test::SchedulerTest {
  protected:
    struct Written {
        Tokens tokens;
        std::vector<double> logprobs;
        std::string text;
        bool operator==(const Written&) const = default;
    };

    // What several sequences write together.
    std::vector<Written> write(Drafting drafting, const GenerationOptions& how,
                               std::int64_t* accepted = nullptr) {
        Engine engine(test::nano(), {2});
        SchedulerOptions options;
        options.parallel = 3;
        options.drafting = drafting;
        Scheduler scheduler(engine, options);
        std::vector<std::shared_ptr<Sequence>> sequences;
        for (const auto& prompt : prompts()) {
            sequences.push_back(
                std::make_shared<Sequence>(Generation(engine, prompt, how), SequenceOptions()));
            scheduler.submit(sequences.back());
        }
        std::vector<Written> all(sequences.size());
        while (scheduler.busy())
            for (const auto& event : scheduler.step()) {
                if (event.kind != Kind::wrote) continue;
                const auto i =
                    std::find(sequences.begin(), sequences.end(), event.sequence) - sequences.begin();
                all[i].text += event.text;
                EXPECT_EQ(event.length, prompts()[i].size() + all[i].logprobs.size() + 1);
                all[i].logprobs.push_back(event.logprobs->chosen.logprob);
            }
        for (std::size_t i = 0; i < all.size(); ++i) all[i].tokens = test::tokens_of(*sequences[i]);
        if (accepted) *accepted = scheduler.drafts().accepted;
        return all;
    }

    std::vector<Tokens> prompts() const {
        const auto some = test::part(prose, 0, 60);
        return {test::joined(some, some), test::part(text, 0, 90),
                test::joined(test::joined(some, some), some)};
    }
};

// Auto takes the drafter if the model has one; who names a way gets it.
TEST_F(Drafts, ComeFromWhereTheOptionsSay) {
    Engine plain(test::nano(), {2});
    EngineOptions with_drafter{2};
    with_drafter.drafter = true;
    Engine mtp(test::nano_mtp(), with_drafter), dspark(test::model41("nano41").model(), with_drafter);
    auto from = [](Engine& engine, Drafting drafting) -> std::string {
        SchedulerOptions options;
        options.drafting = drafting;
        return Scheduler(engine, options).drafts_from();
    };
    for (Engine* engine : {&plain, &mtp, &dspark}) {
        EXPECT_EQ(from(*engine, Drafting::off), "off");
        EXPECT_EQ(from(*engine, Drafting::lookup), "lookup");
    }
    EXPECT_EQ(from(plain, Drafting::automatic), "lookup");
    EXPECT_THROW(from(plain, Drafting::drafter), Error);
    for (const Drafting drafting : {Drafting::drafter, Drafting::automatic}) {
        EXPECT_EQ(from(mtp, drafting), "mtp");
        EXPECT_EQ(from(dspark, drafting), "dspark");
    }
}

TEST_F(Drafts, ChangeNothingOfGreedyAnswers) {
    std::int64_t accepted = 0;
    EXPECT_EQ(write(Drafting::lookup, test::greedy(40), &accepted), write(Drafting::off, test::greedy(40)));
    EXPECT_GT(accepted, 5);
    EXPECT_EQ(write(Drafting::automatic, test::greedy(40)), write(Drafting::off, test::greedy(40)));
}

TEST_F(Drafts, ChangeNothingOfSampledAnswers) {
    for (std::uint64_t seed : {1, 2, 3}) {
        auto how = test::greedy(40);
        how.sampling.temperature = 0.8f;
        how.sampling.top_p = 0.9f;
        how.sampling.repetition_penalty = 1.05f;
        how.sampling.seed = seed;
        EXPECT_EQ(write(Drafting::lookup, how), write(Drafting::off, how)) << seed;
    }
}

// Somebody who sees the end of the answer in the middle of what a pass has written.
TEST_F(Drafts, WhatIsBeyondTheEndDoesNotCount) {
    Engine engine(test::nano(), {2});
    SchedulerOptions options;
    options.drafting = Drafting::lookup;
    Scheduler scheduler(engine, options);
    const auto prompt = prompts()[2];
    const auto expected = test::alone(engine, prompt, 60);
    for (std::size_t length = prompt.size() + 1; length <= prompt.size() + 20; ++length) {
        auto sequence = test::sequence(engine, prompt, 60);
        scheduler.submit(sequence);
        while (scheduler.busy())
            for (const auto& event : scheduler.step())
                if (event.kind == Kind::wrote && event.length == length) scheduler.stop(sequence, length);
        EXPECT_EQ(test::tokens_of(*sequence), test::part(expected, 0, length));
        EXPECT_EQ(sequence->generation().reason(), FinishReason::cancelled);
    }
    // What is kept of it is what was written: the next one continues as if nothing had been.
    auto next = test::sequence(engine, expected, 8);
    scheduler.submit(next);
    while (scheduler.busy()) scheduler.step();
    EXPECT_GT(next->cached(), 0);
    EXPECT_EQ(test::tokens_of(*next), test::alone(engine, expected, 8));
}

// The end token may come in the pass of the token at which somebody stops the answer; it is not written then.
TEST_F(Drafts, AnEndTokenBehindTheEndDoesNotCount) {
    Engine engine(test::nano(), {2});
    auto how = test::greedy(60);
    how.ignore_eos = false;
    const auto question = test::Golden::ids("capital.ids");
    Generation first(engine, question, how);
    auto state = engine.new_state();
    run(engine, state, first);
    ASSERT_EQ(first.reason(), FinishReason::eos);
    auto prompt = test::joined(first.tokens(), {engine.model().tokenizer.eos()});
    prompt = test::joined(prompt, question);  // whose answer is drafted from the first one
    for (auto drafting : {Drafting::off, Drafting::lookup}) {
        SchedulerOptions options;
        options.drafting = drafting;
        Scheduler scheduler(engine, options);
        std::size_t whole = 0;
        for (std::size_t stop = 0; stop == 0 || stop <= whole; ++stop) {  // 0: nowhere
            auto sequence = std::make_shared<Sequence>(Generation(engine, prompt, how), SequenceOptions());
            scheduler.submit(sequence);
            while (scheduler.busy())
                for (const auto& event : scheduler.step())
                    if (event.kind == Kind::wrote && event.length == prompt.size() + stop)
                        scheduler.stop(sequence, event.length);
            const auto& generation = sequence->generation();
            if (stop == 0) {
                ASSERT_EQ(generation.reason(), FinishReason::eos);
                whole = generation.completion_tokens();
                EXPECT_EQ(scheduler.drafts().accepted > 0, drafting == Drafting::lookup);
            } else {
                EXPECT_EQ(generation.completion_tokens(), stop);
                EXPECT_EQ(generation.reason(), stop == whole ? FinishReason::eos : FinishReason::cancelled);
            }
        }
    }
}

TEST_F(Drafts, EndWithTheContextAndTheLimit) {
    const auto prompt = prompts()[2];
    const auto context = static_cast<std::int64_t>(prompt.size()) + 9;
    Engine engine(test::nano(), test::exact(context));
    SchedulerOptions options;
    options.drafting = Drafting::lookup;
    Scheduler scheduler(engine, options);
    for (std::int64_t limit : {1, 2, 7, 9, 10, 50}) {
        auto sequence = test::sequence(engine, prompt, limit);
        scheduler.submit(sequence);
        while (scheduler.busy())
            for (const auto& event : scheduler.step()) ASSERT_NE(event.kind, Kind::failed);
        EXPECT_EQ(test::tokens_of(*sequence), test::alone(engine, prompt, limit)) << limit;
        EXPECT_EQ(sequence->generation().reason(), FinishReason::length);
    }
}

}  // namespace
}  // namespace cachalot
