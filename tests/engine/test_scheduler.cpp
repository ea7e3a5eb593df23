// Who runs when, and that nobody waits for ever.
#include <algorithm>

#include "base/error.h"
#include "engine/scheduler_test.h"

namespace cachalot {
namespace {

using namespace test;

// Memory in which two sequences fit as they are, but somewhere not when both need their next pages.
TEST_F(SchedulerTest, WhoeverHasToMakeRoomContinuesLater) {
    const Tokens prompts[] = {part(text, 0, 250), part(text, 3, 248)};
    std::int64_t preemptions = 0;
    for (int halves : {0, 1}) {
        Engine engine(test::nano(), exact(320));
        const KvLayout& layout = engine.kv_pool()->layout();
        SchedulerOptions options;
        options.headroom = 1;
        options.memory =
            Scheduler::least_memory(engine) + layout.bytes_at(0) + halves * layout.growth(0, 0) / 2;
        Scheduler scheduler(engine, options);
        std::vector<std::shared_ptr<Sequence>> both;
        for (const auto& prompt : prompts) {
            both.push_back(sequence(engine, prompt, 12));
            scheduler.submit(both.back());
        }
        while (scheduler.busy()) scheduler.step();
        EXPECT_LE(engine.kv_memory().peak(), options.memory);
        preemptions += scheduler.preemptions();
        for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(tokens_of(*both[i]), alone(engine, prompts[i], 12));
    }
    EXPECT_GT(preemptions, 0);
}

// Wherever the next prompt leaves what is known, in the prompt or in the answer, the rest is computed and
// right.
TEST_F(SchedulerTest, PrefixesAreExactForAnyCut) {
    Engine engine(test::nano(), exact());
    Scheduler scheduler(engine);
    SequenceOptions place;
    place.header = 258;
    auto first = sequence(engine, part(text, 0, 260), 40, place);
    scheduler.submit(first);
    while (scheduler.busy()) scheduler.step();
    auto known = tokens_of(*first);
    for (std::size_t cut : {3, 127, 128, 257, 258, 259, 261, 280, 299, 300}) {
        auto prompt = part(known, 0, cut);
        prompt.insert(prompt.end(), prose.begin(), prose.begin() + 10);
        auto next = sequence(engine, prompt, 4);
        scheduler.submit(next);
        while (scheduler.busy()) scheduler.step();
        EXPECT_EQ(tokens_of(*next), alone(engine, prompt, 4)) << cut;
        EXPECT_GE(next->cached(), cut >= 299 ? 299 : cut >= 250 ? 250 : 0) << cut;
    }
}

TEST_F(SchedulerTest, WritersGoOnWhileAPromptIsRead) {
    Engine engine(test::nano(), {2});
    SchedulerOptions options;
    options.beside = 64;
    Scheduler scheduler(engine, options);
    auto writer = sequence(engine, prose, 60);
    scheduler.submit(writer);
    scheduler.step();
    ASSERT_EQ(writer->generation().completion_tokens(), 1u);
    auto reader = sequence(engine, text, 1);
    scheduler.submit(reader);
    std::size_t passes = 0;
    for (; reader->generation().completion_tokens() == 0; ++passes) {
        scheduler.step();
        EXPECT_EQ(writer->generation().completion_tokens(), passes + 2);
        EXPECT_LE(scheduler.rows(), 65);
    }
    EXPECT_GE(passes, text.size() / 64);
}

TEST_F(SchedulerTest, AShortPromptDoesNotWaitForALongOne) {
    Engine engine(test::nano(), {2});
    Scheduler scheduler(engine);
    auto lengthy = test::Golden::ids("retrieval_4k.ids");
    auto reader = sequence(engine, lengthy, 1);
    scheduler.submit(reader);
    scheduler.step();
    auto brief = sequence(engine, part(text, 0, 100), 3);
    scheduler.submit(brief);
    int passes = 0;
    for (; brief->generation().completion_tokens() == 0; ++passes) scheduler.step();
    EXPECT_LE(passes, 3);
    EXPECT_EQ(reader->generation().completion_tokens(), 0u);
}

TEST_F(SchedulerTest, PrioritiesAreServedFirstButNobodyStarves) {
    Engine engine(test::nano(), {2});
    SchedulerOptions options;
    options.parallel = 1;
    Scheduler scheduler(engine, options);
    auto of = [&](Priority priority) {
        SequenceOptions place;
        place.priority = priority;
        auto s = sequence(engine, part(prose, 0, 5), 3, place);
        scheduler.submit(s);
        return s;
    };
    auto background = of(Priority::background), normal = of(Priority::normal);
    auto interactive = of(Priority::interactive);
    while (!interactive->generation().finished()) scheduler.step();
    EXPECT_EQ(normal->generation().completion_tokens(), 0u);
    while (!normal->generation().finished()) scheduler.step();
    EXPECT_EQ(background->generation().completion_tokens(), 0u);
    // Although there is always somebody of higher priority.
    int passes = 0;
    for (; !background->generation().finished() && passes < 1000; ++passes) {
        if (scheduler.waiting() < 3) of(Priority::interactive);
        scheduler.step();
    }
    EXPECT_LT(passes, 400);
}

TEST_F(SchedulerTest, OnePromptIsReadOnceForAll) {
    Engine engine(test::nano(), exact());
    Scheduler scheduler(engine);
    auto prompt = part(text, 0, 300);
    auto other = part(text, 0, 220);
    other.insert(other.end(), prose.begin(), prose.begin() + 30);
    std::vector<std::shared_ptr<Sequence>> all;
    for (int i = 0; i < 3; ++i) all.push_back(sequence(engine, prompt, 5));
    all.push_back(sequence(engine, other, 5));
    for (auto& s : all) scheduler.submit(s);
    std::int64_t rows = 0;
    while (scheduler.busy()) {
        scheduler.step();
        rows += scheduler.rows();
    }
    EXPECT_EQ(rows, 300 + 30 + 2 + 4 * 4);
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(tokens_of(*all[static_cast<std::size_t>(i)]), alone(engine, prompt, 5));
    EXPECT_EQ(tokens_of(*all[3]), alone(engine, other, 5));
    // Others have nothing of it.
    SequenceOptions place;
    place.space = "another";
    auto stranger = sequence(engine, prompt, 1, place);
    scheduler.submit(stranger);
    while (scheduler.busy()) scheduler.step();
    EXPECT_EQ(stranger->cached(), 0);
}

TEST_F(SchedulerTest, WhatWasStoppedIsNotLost) {
    Engine engine(test::nano(), {2, Precision::exact, KvPrecision::reference, 50});
    Scheduler scheduler(engine);
    auto gone = sequence(engine, text, 5);
    scheduler.submit(gone);
    for (int i = 0; i < 4; ++i) scheduler.step();
    scheduler.stop(gone);
    EXPECT_EQ(gone->generation().reason(), FinishReason::cancelled);
    EXPECT_FALSE(scheduler.busy());
    auto again = sequence(engine, text, 5);
    scheduler.submit(again);
    scheduler.step();
    EXPECT_EQ(again->cached(), 200);
}

// Each of them is tried once more, by itself.
TEST_F(SchedulerTest, APassThatAlwaysFailsEndsThoseWhoTookPart) {
    Engine engine(test::nano(), exact());
    Scheduler scheduler(engine);
    std::vector<std::shared_ptr<Sequence>> all;
    for (std::size_t i = 0; i < 2; ++i) {
        all.push_back(sequence(engine, part(text, i, 50), 4));
        scheduler.submit(all.back());
    }
    scheduler.step();
    engine.observe_layers([](const LayerView&) { fail("no disk"); });
    EXPECT_EQ(scheduler.step().size(), 0u);
    for (const auto& s : all) {
        auto events = scheduler.step();
        ASSERT_EQ(events.size(), 1u);
        EXPECT_EQ(events[0].kind, Kind::failed);
        EXPECT_EQ(events[0].sequence, s);
        EXPECT_THROW(std::rethrow_exception(events[0].error), Error);
    }
    EXPECT_FALSE(scheduler.busy());
    engine.observe_layers({});
    auto next = sequence(engine, part(text, 2, 50), 4);
    scheduler.submit(next);
    while (scheduler.busy())
        for (const auto& event : scheduler.step()) EXPECT_NE(event.kind, Kind::failed);
    EXPECT_EQ(tokens_of(*next), alone(engine, part(text, 2, 50), 4));
}

TEST_F(SchedulerTest, ScoresPromptsAndWritesNothingIfToldSo) {
    Engine engine(test::nano(), exact());
    Scheduler scheduler(engine);
    auto prompt = part(text, 0, 150);
    auto state = engine.new_state();
    auto expected = test::all_logits(engine, state, prompt, 150);
    SequenceOptions place;
    place.all_logits = true;
    auto scored = sequence(engine, prompt, 0, place), empty = sequence(engine, prompt, 0);
    scheduler.submit(scored);
    scheduler.submit(empty);
    std::vector<float> logits;
    int ends = 0;
    while (scheduler.busy())
        for (const auto& event : scheduler.step()) {
            if (event.kind == Kind::read)
                logits.insert(logits.end(), event.logits.begin(), event.logits.end());
            ends += event.kind == Kind::wrote;
        }
    EXPECT_EQ(logits, expected);
    EXPECT_EQ(ends, 2);
}

TEST_F(SchedulerTest, OptionsOutOfRangeAreErrors) {
    Engine engine(test::nano(), exact());
    SchedulerOptions options;
    options.parallel = 0;
    EXPECT_THROW(Scheduler(engine, options), Error);
    options.parallel = 1;
    options.memory = Scheduler::least_memory(engine) - 1;
    EXPECT_THROW(Scheduler(engine, options), Error);
    ++options.memory;
    EXPECT_NO_THROW(Scheduler(engine, options));
}

}  // namespace
}  // namespace cachalot
