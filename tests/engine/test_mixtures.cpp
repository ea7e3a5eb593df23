// The property that everything else may not break: many answers at once are what each would be alone,
// whatever comes when, goes when, is short of memory, and is known from before, in memory or on disk.
#include <algorithm>
#include <random>
#include <thread>

#include "engine/scheduler_test.h"
#include "engine/state_fingerprint.h"
#include "support/each_model.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace test;

// Now and then it takes its time.
struct LazyDisk : FileCalls {
    std::mt19937 random{3};  // of the thread that reads
    ssize_t pread(int file, void* data, std::size_t size, off_t offset) override {
        if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 8));
        return FileCalls::pread(file, data, size, offset);
    }
};

class Mixtures : public SchedulerTest, public ForEachModel {
  protected:
    struct Case {
        Tokens prompt, expected;
        std::int64_t length;
        double logprob;  // of the last token
    };
    struct Round {
        std::int64_t context = 0;
        int chunk = 0;
        SchedulerOptions options;
        bool disk = false;
        bool drafter = false;   // that of the model takes part
        std::size_t crowd = 0;  // cases, from the fourth on, that come first and all at once
        std::size_t sequences = 8;
        std::size_t patience = 25;  // passes between two that are stopped, about
    };

    void add(Engine& engine, const Tokens& prompt, std::int64_t length) {
        Generation generation(engine, prompt, greedy(length));
        auto state = engine.new_state();
        run(engine, state, generation);
        cases.push_back({prompt, generation.tokens(), length, last_logprob(generation)});
    }

    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random() % n); }

    static void check(const Sequence& s, const Case& c) {
        auto got = tokens_of(s);
        ASSERT_LE(got.size(), c.expected.size());
        ASSERT_EQ(got, part(c.expected, 0, got.size()));
    }

    EngineOptions engine_options(const Round& round) const {
        auto options = exact(round.context, round.chunk);
        options.drafter = round.drafter;
        return options;
    }

    void play(const Round& round) {
        Engine engine(model(), engine_options(round));
        auto options = round.options;
        LazyDisk calls;
        std::optional<DiskTier> disk;
        if (round.disk) {
            DiskTierOptions o;
            o.folder = folder.path() / "kv";
            o.budget = 4 << 20;
            o.model = state_fingerprint(engine);
            o.calls = &calls;
            disk.emplace(o, engine.kv_pool());
            options.disk = &*disk;
        }
        Scheduler scheduler(engine, options);
        std::vector<std::pair<std::shared_ptr<Sequence>, const Case*>> live;
        for (std::size_t sent = 0; sent < round.sequences || scheduler.busy();) {
            const bool some = below(4) == 0 || !scheduler.busy();  // several at the same time, now and then
            for (; sent < round.sequences && (sent < round.crowd || (some && (live.empty() || below(2))));
                 ++sent) {
                const auto& c = cases[sent < round.crowd ? 3 + sent : below(cases.size())];
                live.emplace_back(sequence(engine, c.prompt, c.length, some_place(c)), &c);
                scheduler.submit(live.back().first);
            }
            if (!live.empty() && below(round.patience) == 0) {
                auto victim = live.begin() + static_cast<std::ptrdiff_t>(below(live.size()));
                scheduler.stop(victim->first);
                ++cancelled;
                check(*victim->first, *victim->second);
                live.erase(victim);
            }
            for (const auto& event : scheduler.step()) {
                ASSERT_NE(event.kind, Kind::failed);
                if (event.kind == Kind::started) reused += event.sequence->cached();
                if (event.kind != Kind::wrote || !event.last) continue;
                auto ended = std::find_if(live.begin(), live.end(),
                                          [&](const auto& entry) { return entry.first == event.sequence; });
                ASSERT_NE(ended, live.end());
                check(*event.sequence, *ended->second);
                EXPECT_EQ(tokens_of(*event.sequence).size(), ended->second->expected.size());
                EXPECT_NEAR(last_logprob(event.sequence->generation()), ended->second->logprob, 1e-4);
                live.erase(ended);
            }
            ASSERT_LE(scheduler.running(), static_cast<std::size_t>(options.parallel));
        }
        EXPECT_TRUE(live.empty());
        if (options.memory) {
            EXPECT_LE(engine.kv_memory().peak(), options.memory);
        }
        evictions += scheduler.prefixes().evictions();
        preemptions += scheduler.preemptions();
        from_disk += scheduler.hits_on_disk();
    }

    SequenceOptions some_place(const Case& c) {
        SequenceOptions place;
        place.priority = static_cast<Priority>(below(3));
        place.space = below(4) ? "" : "other";
        place.all_logits = below(8) == 0;
        place.header = static_cast<std::int64_t>(below(c.prompt.size()));
        return place;
    }

    std::vector<Case> cases;
    std::mt19937 random{11};
    std::int64_t evictions = 0, reused = 0, from_disk = 0, preemptions = 0, cancelled = 0;
    const test::TemporaryFolder folder;
};

CACHALOT_FOR_MODELS(Mixtures, "nano", "nano_mtp", "nano41", "tiny41");

TEST_P(Mixtures, EveryMixtureGivesWhatEachGivesAlone) {
    {
        Engine engine(model(), exact());
        for (std::size_t n : {1, 127, 129}) add(engine, part(text, 0, n), 12);
        for (std::size_t n : {0, 3, 7}) add(engine, part(text, n, 251 - n), 12);  // need another page soon
        for (std::size_t n : {40, 150})  // beginnings that part from the others'
            add(engine, joined(part(text, 0, n), part(prose, 0, 50)), 20);
        auto answered = cases.back().expected;  // a second turn, cut within the generated text
        answered.resize(answered.size() - 5);
        add(engine, joined(answered, part(prose, 0, 9)), 10);
    }
    for (int number = 0; number < 8; ++number) {
        Round round;
        round.context = 320;
        round.chunk = 20 + static_cast<int>(below(100));
        round.drafter = model()->draft && number % 4 < 3;  // what is on disk is of both kinds
        round.options.parallel = 1 + static_cast<int>(below(5));
        round.options.beside = 1 + static_cast<int>(below(60));
        round.options.headroom = 1;
        if (number % 3) {
            const Engine engine(model(), engine_options(round));
            auto state = engine.new_state();
            round.options.memory = Scheduler::least_memory(engine) +
                                   static_cast<std::int64_t>(below(3)) * state.layout().bytes_at(0) +
                                   static_cast<std::int64_t>(below(3)) * state.growth(0);
            if (number % 3 == 1) {
                round.crowd = 3;
                round.options.memory =
                    Scheduler::least_memory(engine) + state.layout().bytes_at(0) + state.growth(0) / 2;
            }
        }
        round.disk = number % 2;
        round.options.drafting = number % 4 < 1    ? Drafting::off
                                 : !round.drafter  ? Drafting::lookup
                                 : number % 4 == 1 ? Drafting::drafter
                                                   : Drafting::automatic;
        SCOPED_TRACE(number);
        play(round);
    }
    EXPECT_GT(evictions, 0);
    EXPECT_GT(preemptions, 0);
    EXPECT_GT(cancelled, 3);
    EXPECT_GT(reused, 1000);
    EXPECT_GT(from_disk, 300);
}

// Prompts of several blocks of the disk, of which it knows more than memory, in the least memory that is
// allowed or a little more.
TEST_P(Mixtures, OfPromptsThatTheDiskKnowsAndMemoryHardlyHolds) {
    constexpr std::int64_t kContext = 840;
    {
        Engine engine(model(), exact());
        const auto all = lengthy(820);
        for (std::size_t n : {130, 300, 530, 790, 815}) add(engine, part(all, 0, n), 6);
        for (std::size_t n : {290, 600}) add(engine, joined(part(all, 0, n), part(prose, 0, 180)), 6);
        add(engine, joined(part(cases[3].expected, 0, 794), part(prose, 20, 16)), 6);  // a second turn
    }
    const Engine engine(model(), exact(kContext));
    const auto state = engine.new_state();
    for (int number = 0; number < 4; ++number) {
        Round round;
        round.context = kContext;
        round.sequences = 6;
        round.chunk = 60 + static_cast<int>(below(200));
        round.options.parallel = 1 + number % 3;
        round.options.headroom = 1;
        round.options.memory = Scheduler::least_memory(engine);
        if (number % 3 == 2) round.options.memory += state.layout().bytes_at(0) + state.growth(0);
        round.disk = true;
        round.patience = 60;
        SCOPED_TRACE(number);
        play(round);
    }
    EXPECT_GT(evictions, 5);  // how many, and what follows, depends on when the disk is done
    EXPECT_GT(reused, 500);
    EXPECT_GT(from_disk, 200);
}

// The disk knows more than memory, and while room is made to read it what memory knew must not be lost:
// neither the answer nor what is kept of it may rest on tokens that nobody has.
TEST_P(Mixtures, WhatMemoryKnowsIsThereUntilItIsContinued) {
    constexpr std::int64_t kContext = 840;
    for (const std::size_t known : {100, 300, 600}) {
        SCOPED_TRACE(known);
        const auto question = part(lengthy(known), 0, known);
        Tokens all, prompt, again;
        double expected = 0, expected_again = 0;
        {
            Engine engine(model(), exact(kContext));
            all = joined(alone(engine, question, 6), part(lengthy(900), 0, 784 - known));
            prompt = joined(all, part(prose, 0, 12));
            again = joined(all, part(prose, 30, 14));
            add(engine, prompt, 6);
            expected = cases.back().logprob;
            add(engine, again, 6);
            expected_again = cases.back().logprob;
        }
        const test::TemporaryFolder here;
        auto answers = [&](std::int64_t memory, const std::vector<Tokens>& prompts) {
            Engine engine(model(), exact(kContext, 128));
            DiskTierOptions o;
            o.folder = here.path() / "kv";
            o.model = state_fingerprint(engine);
            DiskTier disk(o, engine.kv_pool());
            SchedulerOptions options;
            options.memory = memory;
            options.disk = &disk;
            Scheduler scheduler(engine, options);
            std::vector<double> all_of_them;
            for (const auto& p : prompts) {
                auto s = sequence(engine, p, 6);
                scheduler.submit(s);
                while (scheduler.busy()) scheduler.step();
                all_of_them.push_back(last_logprob(s->generation()));
            }
            EXPECT_EQ(disk.stats().read_errors, 0);
            return all_of_them;
        };
        answers(0, {all});
        const auto least = Scheduler::least_memory(Engine(model(), exact(kContext)));
        EXPECT_NEAR(answers(least, {question, prompt})[1], expected, 1e-4);
        EXPECT_NEAR(answers(0, {again})[0], expected_again, 1e-4);  // from what was kept on disk
    }
}

}  // namespace
}  // namespace cachalot
