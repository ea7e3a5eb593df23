// What is given up when memory is short, and what is not.
#include "engine/scheduler_test.h"

namespace cachalot {
namespace {

using namespace test;

class ShortMemory : public SchedulerTest {};

// Two long prompts do not fit beside each other. The second one waits then, and what is kept of others stays, although
// at the beginning there would be room if that went.
TEST_F(ShortMemory, NothingIsThrownAwayForWhoDoesNotFit) {
    Engine engine(nano(), exact(3300, 64));
    SchedulerOptions options;
    options.headroom = 1;
    {
        const KvLayout& layout = engine.kv_pool()->layout();
        options.memory = Scheduler::least_memory(engine) + layout.bytes_at(0) + layout.growth(0, 0);
    }
    Scheduler scheduler(engine, options);
    const auto kept = part(prose, 0, 60);
    auto before = sequence(engine, kept, 3);
    scheduler.submit(before);
    while (scheduler.busy()) scheduler.step();
    SequenceOptions elsewhere;
    elsewhere.space = "another";
    auto first = sequence(engine, lengthy(3000), 3), second = sequence(engine, lengthy(3000), 3, elsewhere);
    scheduler.submit(first);
    scheduler.step();
    scheduler.submit(second);
    for (int i = 0; i < 5; ++i) scheduler.step();
    EXPECT_EQ(scheduler.running(), 1u);
    EXPECT_EQ(scheduler.waiting(), 1u);
    EXPECT_EQ(scheduler.preemptions(), 0);
    EXPECT_TRUE(scheduler.prefixes().contains("", part(tokens_of(*before), 0, 62)));
    scheduler.stop(first);
    scheduler.step();  // its turn
    EXPECT_EQ(scheduler.running(), 1u);
    scheduler.stop(second);
}

// What somebody in the queue is going to continue from outlives what is worth more, but for which nobody waits.
TEST_F(ShortMemory, WhatSomebodyWaitsForGoesLast) {
    const auto a = part(text, 0, 150), b = part(text, 1, 150), other = part(prose, 0, 90);
    int decided = 0;
    for (std::int64_t quarters = 0; quarters < 12; ++quarters) {
        Engine engine(nano(), exact(320));
        SchedulerOptions options;
        options.parallel = 1;
        options.headroom = 1;
        {
            const KvLayout& layout = engine.kv_pool()->layout();
            options.memory = Scheduler::least_memory(engine) + quarters * layout.bytes_at(0) / 4;
        }
        Scheduler scheduler(engine, options);
        auto answer = [&](const Tokens& prompt) {
            auto s = sequence(engine, prompt, 3);
            scheduler.submit(s);
            while (scheduler.busy()) scheduler.step();
        };
        answer(a);
        for (int i = 0; i < 4; ++i) answer(joined(b, part(prose, 0, static_cast<std::size_t>(i))));
        const auto knows = [&](const Tokens& tokens) {
            return scheduler.prefixes().find("", tokens).kept() > 100;
        };
        if (!knows(a)) continue;  // in so little memory it is gone before
        auto running = sequence(engine, joined(other, part(text, 100, 180)), 20);
        auto waiting = sequence(engine, joined(a, part(prose, 0, 9)), 3);
        scheduler.submit(running);
        scheduler.step();
        scheduler.submit(waiting);
        while (!running->generation().finished()) scheduler.step();
        const bool others = knows(b);
        while (scheduler.busy()) scheduler.step();
        if (others) {
            EXPECT_GT(waiting->cached(), 100) << quarters;
        }
        decided += !others && waiting->cached() > 100;
        EXPECT_EQ(tokens_of(*waiting), alone(engine, joined(a, part(prose, 0, 9)), 3));
    }
    RecordProperty("decided", decided);
}

}  // namespace
}  // namespace cachalot
