// A pass that fails costs those who cannot do without what failed, and nobody else.
#include <atomic>

#include "engine/scheduler_test.h"
#include "engine/streaming_test.h"

namespace cachalot {
namespace {

using namespace test;

class FailedPasses : public SchedulerTest {
  protected:
    Engine streaming_engine(int chunk = 512) {
        auto queue = std::make_unique<FaultyQueue>();
        disk = queue.get();
        return streaming(nano(), 24, std::move(queue), exact(0, chunk));
    }

    // Reads of the middle of an expert's matrix fail from now on, `times` times.
    void break_expert(int layer, int expert, int times = 1 << 30) {
        const auto& down = nano()
                               ->weights.layers[static_cast<std::size_t>(layer)]
                               .experts[static_cast<std::size_t>(expert)]
                               .down;
        const auto* file = nano()->checkpoint->files()[0].bytes().data();
        const auto middle =
            static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(down.data) -
                                       reinterpret_cast<const std::byte*>(file) + down.bytes() / 2);
        disk->fault = [middle, times](const QueuedRead& read) mutable -> std::optional<std::int64_t> {
            if (middle < read.offset || middle >= read.offset + read.size || times-- <= 0) return {};
            return -EIO;
        };
    }

    // Whatever is read fails `times` times in a row, after `before` reads.
    void break_reads(int before, int times) {
        disk->fault = [before, times](const QueuedRead& read) mutable -> std::optional<std::int64_t> {
            static std::uint64_t offset;
            if (before-- > 0 || times <= 0) return {};
            if (before == -1) offset = read.offset;
            if (read.offset != offset) return {};
            --times;
            return -EIO;
        };
    }

    // Of layer 6: the experts that a prompt and its answer choose.
    std::set<std::int32_t> chosen(const Tokens& prompt, std::int64_t tokens) {
        Engine engine(nano(), exact());
        std::set<std::int32_t> experts;
        engine.observe_layers([&](const LayerView& view) {
            if (view.layer == kLayer) experts.insert(view.experts.begin(), view.experts.end());
        });
        alone(engine, prompt, tokens);
        return experts;
    }

    // All events that end a sequence with an error.
    std::vector<SequenceEvent> run_to_end(Scheduler& scheduler) {
        std::vector<SequenceEvent> failed;
        int passes = 0;
        for (; scheduler.busy() && passes < 500; ++passes)
            for (auto& event : scheduler.step())
                if (event.kind == Kind::failed) failed.push_back(std::move(event));
        EXPECT_LT(passes, 500);
        return failed;
    }

    static constexpr int kLayer = 6;
    FaultyQueue* disk = nullptr;
};

// One that decodes, one that has read a little of a prompt, and one that reads a chunk too long to be taken
// back.
TEST_F(FailedPasses, WhatFailsForATimeCostsNobodyAnything) {
    const Tokens prompts[] = {part(text, 3, 20), part(prose, 0, 60), part(text, 0, 260)};
    std::vector<Tokens> expected;
    {
        Engine engine(nano(), exact());
        for (const auto& prompt : prompts) expected.push_back(alone(engine, prompt, 8));
    }
    for (int times : {1, 2, 3})  // of one read; it takes four to fail again alone
        for (int before : {0, 100}) {
            SCOPED_TRACE(testing::Message() << times << " times after " << before << " reads");
            Engine engine = streaming_engine();
            Scheduler scheduler(engine);
            std::vector<std::shared_ptr<Sequence>> all;
            for (std::size_t i = 0; i < 3; ++i) {
                all.push_back(sequence(engine, prompts[i], 8));
                scheduler.submit(all.back());
                if (i == 0) scheduler.step();
            }
            break_reads(before, times);
            EXPECT_EQ(run_to_end(scheduler).size(), 0u);
            for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(tokens_of(*all[i]), expected[i]) << i;
            EXPECT_GT(engine.expert_stats()->failed_reads, 0u);
        }
}

TEST_F(FailedPasses, OnlyWhoNeedsWhatIsLostEnds) {
    const auto healthy = part(text, 3, 12), other = part(prose, 4, 9);
    auto needed = chosen(healthy, 12);
    needed.merge(chosen(other, 12));
    for (const std::size_t n : {40, 250}) {  // that can be taken back, and that cannot
        const auto victim = joined(part(prose, 0, 30), part(text, 0, n));
        std::int32_t lost = -1;
        for (auto expert : chosen(victim, 1))
            if (!needed.contains(expert)) lost = expert;
        ASSERT_GE(lost, 0);
        Engine resident(nano(), exact());
        Engine engine = streaming_engine();
        Scheduler scheduler(engine);
        auto a = sequence(engine, healthy, 12), b = sequence(engine, other, 12),
             ill = sequence(engine, victim, 6);
        scheduler.submit(a);
        scheduler.step();
        break_expert(kLayer, lost);
        scheduler.submit(ill);
        scheduler.submit(b);
        const auto failed = run_to_end(scheduler);
        ASSERT_EQ(failed.size(), 1u);
        EXPECT_EQ(failed[0].sequence, ill);
        try {
            std::rethrow_exception(failed[0].error);
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), testing::HasSubstr(fmt::format("layer {}, expert {}", kLayer, lost)));
        }
        EXPECT_EQ(tokens_of(*a), alone(resident, healthy, 12));
        EXPECT_EQ(tokens_of(*b), alone(resident, other, 12));
        // When the disk works again, so does the request.
        disk->fault = {};
        auto again = sequence(engine, victim, 6);
        scheduler.submit(again);
        EXPECT_EQ(run_to_end(scheduler).size(), 0u);
        EXPECT_EQ(tokens_of(*again), alone(resident, victim, 6));
    }
}

// What it had written and read is kept, as when it is stopped.
TEST_F(FailedPasses, WhoEndsWithAnErrorLeavesWhatIsIntact) {
    Engine engine = streaming_engine();
    Scheduler scheduler(engine);
    auto s = sequence(engine, part(text, 0, 100), 30);
    scheduler.submit(s);
    for (int i = 0; i < 5; ++i) scheduler.step();
    disk->fault = [](const QueuedRead&) { return -EIO; };
    ASSERT_EQ(run_to_end(scheduler).size(), 1u);
    EXPECT_FALSE(scheduler.busy());
    disk->fault = {};
    ASSERT_EQ(tokens_of(*s).size(), 105u);
    auto again = sequence(engine, joined(tokens_of(*s), part(prose, 0, 5)), 3);
    scheduler.submit(again);
    EXPECT_EQ(run_to_end(scheduler).size(), 0u);
    EXPECT_EQ(again->cached(), 104);
}

// Nobody loops for ever, and nobody's prompt is told to be read twice as a score.
TEST_F(FailedPasses, ADeadDiskEndsAllOfThem) {
    Engine engine = streaming_engine(100);
    Scheduler scheduler(engine);
    std::vector<std::shared_ptr<Sequence>> all;
    for (std::size_t n : {10, 90, 300, 200}) {
        SequenceOptions place;
        place.all_logits = n == 200;
        all.push_back(sequence(engine, part(text, n % 7, n), 20, place));
        scheduler.submit(all.back());
    }
    std::int64_t scored = 0;
    auto see = [&](const SequenceEvent& event) {
        if (event.kind != Kind::read || event.logits.empty()) return;
        EXPECT_GT(event.done, scored);
        scored = event.done;
    };
    for (int i = 0; i < 3; ++i)
        for (const auto& event : scheduler.step()) see(event);
    disk->fault = [](const QueuedRead&) { return -EIO; };
    int failed = 0, passes = 0;
    for (; scheduler.busy() && passes < 100; ++passes)
        for (const auto& event : scheduler.step()) {
            see(event);
            failed += event.kind == Kind::failed;
        }
    EXPECT_EQ(failed, 4);
    EXPECT_LT(passes, 30);
}

}  // namespace
}  // namespace cachalot
