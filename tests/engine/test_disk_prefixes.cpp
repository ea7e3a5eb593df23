// Conversations go on after a restart from what is on disk, with the same text as without.
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <random>

#include "engine/scheduler.h"
#include "engine/state_fingerprint.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using Tokens = std::vector<std::int32_t>;

class DiskPrefixes : public testing::Test {
  protected:
    // An engine with an empty memory, as after a restart.
    struct Process {
        explicit Process(const std::filesystem::path& folder, SchedulerOptions options = {},
                         FileCalls* calls = nullptr)
            : engine(test::nano(), {2, Precision::exact, KvPrecision::reference, 64, 600}) {
            if (!folder.empty()) {
                DiskTierOptions o;
                o.folder = folder;
                o.budget = 8 << 20;
                o.model = state_fingerprint(engine);
                o.calls = calls;
                disk.emplace(o, engine.kv_pool());
                options.disk = &*disk;
            }
            scheduler.emplace(engine, options);
        }
        std::shared_ptr<Sequence> submit(const Tokens& prompt, std::int64_t tokens) {
            GenerationOptions o;
            o.sampling.temperature = 0;
            o.max_tokens = tokens;
            o.ignore_eos = true;
            auto s = std::make_shared<Sequence>(Generation(engine, prompt, o), SequenceOptions{});
            scheduler->submit(s);
            return s;
        }
        Tokens answer(const Tokens& prompt, std::int64_t tokens, std::int64_t* cached = nullptr) {
            auto s = submit(prompt, tokens);
            while (scheduler->busy()) scheduler->step();
            if (cached) *cached = s->cached();
            return s->generation().tokens();
        }
        Engine engine;
        std::optional<DiskTier> disk;
        std::optional<Scheduler> scheduler;
    };

    Tokens prompt(std::size_t n) const {
        Tokens tokens;
        while (tokens.size() < n) tokens.insert(tokens.end(), text.begin(), text.end());
        tokens.resize(n);
        return tokens;
    }

    static Tokens part_of(const Tokens& tokens, std::int64_t begin, std::int64_t count) {
        return {tokens.begin() + begin, tokens.begin() + begin + count};
    }

    const Tokens text = test::Golden::ids("prefix.ids"), prose = test::Golden::ids("prose.ids");
    test::TemporaryFolder folder;
    std::filesystem::path kv = folder.path() / "kv";
};

TEST_F(DiskPrefixes, AConversationGoesOnAfterARestart) {
    for (std::size_t length : {5, 130, 250, 400}) {
        auto second = Process(kv).answer(prompt(length), 20);
        const auto told = static_cast<std::int64_t>(second.size());
        second.insert(second.end(), prose.begin(), prose.begin() + 11);
        const auto expected = Process({}).answer(second, 15);
        Process again(kv);
        std::int64_t cached = 0;
        EXPECT_EQ(again.answer(second, 15, &cached), expected) << length;
        EXPECT_GE(cached, told - 1) << length;
        EXPECT_EQ(again.scheduler->hits_on_disk(), cached);
        EXPECT_EQ(again.scheduler->hits_in_memory(), 0);
        EXPECT_EQ(again.answer(second, 15, &cached), expected);  // from memory now
        EXPECT_GT(again.scheduler->hits_in_memory(), 0);
    }
}

TEST_F(DiskPrefixes, MemoryAndDiskTogether) {
    Process(kv).answer(prompt(420), 10);
    Process p(kv);
    p.answer(prompt(120), 3);  // of which memory knows 122 tokens then
    auto longer = prompt(420);
    longer.insert(longer.end(), prose.begin(), prose.begin() + 9);
    std::int64_t cached = 0;
    EXPECT_EQ(p.answer(longer, 12, &cached), Process({}).answer(longer, 12));
    EXPECT_GE(cached, 411);
}

// A disk that answers when it is told to.
struct SlowDisk : FileCalls {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    int reads = 0;

    ssize_t pread(int file, void* data, std::size_t size, off_t offset) override {
        std::unique_lock lock(mutex);
        ++reads;
        changed.notify_all();
        changed.wait(lock, [&] { return open; });
        return FileCalls::pread(file, data, size, offset);
    }
    bool is_asked() {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(20), [&] { return reads > 0; });
    }
    void set_open(bool now) {
        std::lock_guard lock(mutex);
        open = now;
        reads = 0;
        changed.notify_all();
    }
};

TEST_F(DiskPrefixes, OthersGoOnWhileAPrefixIsRead) {
    const auto talk = prompt(420), other = Tokens(prose.begin(), prose.begin() + 40);
    const auto expected = Process(kv).answer(talk, 6), expected_other = Process({}).answer(other, 30);
    SlowDisk disk;
    Process p(kv, {}, &disk);
    auto writer = p.submit(other, 30);
    p.scheduler->step();
    auto reader = p.submit(talk, 6), twin = p.submit(talk, 6);
    p.scheduler->step();
    ASSERT_TRUE(disk.is_asked());
    for (std::size_t i = 0; i < 10; ++i) {
        const auto before = writer->generation().completion_tokens();
        p.scheduler->step();
        EXPECT_EQ(writer->generation().completion_tokens(), before + 1);
    }
    auto newcomer = p.submit(part_of(prose, 60, 20), 3);  // one that comes now does not wait either
    for (int i = 0; i < 3; ++i) p.scheduler->step();
    EXPECT_TRUE(newcomer->generation().finished());
    EXPECT_EQ(p.scheduler->running(), 1u);
    EXPECT_EQ(p.scheduler->waiting(), 2u);

    // The one who waits may go meanwhile, and so may the other one and come again.
    p.scheduler->stop(reader);
    p.scheduler->step();
    p.scheduler->stop(twin);
    EXPECT_EQ(p.scheduler->waiting(), 0u);
    auto again = p.submit(talk, 6);
    twin = p.submit(talk, 6);
    p.scheduler->step();
    disk.set_open(true);
    while (p.scheduler->busy()) p.scheduler->step();
    EXPECT_EQ(again->generation().tokens(), expected);
    EXPECT_EQ(twin->generation().tokens(), expected);
    EXPECT_EQ(writer->generation().tokens(), expected_other);
    EXPECT_GT(again->cached_on_disk(), 400);
    EXPECT_EQ(twin->cached_on_disk(), 0);  // it is read once
    EXPECT_GT(twin->cached(), 400);
    EXPECT_EQ(p.disk->stats().read_errors, 0);
}

// Whoever waits for the disk has its memory, or waits for that first.
TEST_F(DiskPrefixes, WhatIsBeingReadKeepsToTheBudget) {
    const auto talk = prompt(420);
    for (int quarters : {4, 6}) {
        std::filesystem::remove_all(kv);
        const auto expected = Process(kv).answer(talk, 6);
        SlowDisk disk;
        SchedulerOptions options;
        {
            const Engine engine(test::nano(), {2, Precision::exact, KvPrecision::reference, 64, 600});
            const auto empty = engine.new_state();
            options.memory =
                Scheduler::least_memory(engine) + empty.layout().bytes_at(0) + quarters * empty.growth(0) / 4;
            options.headroom = 1;
        }
        Process p(kv, options, &disk);
        auto writer = p.submit(part_of(prose, 0, 200), 100);
        for (int i = 0; i < 6; ++i) p.scheduler->step();
        auto reader = p.submit(talk, 6);
        for (int i = 0; i < 60; ++i) p.scheduler->step();
        EXPECT_EQ(p.scheduler->waiting(), 1u);
        disk.set_open(true);
        while (p.scheduler->busy()) p.scheduler->step();
        EXPECT_LE(p.engine.kv_memory().peak(), options.memory);
        EXPECT_EQ(reader->generation().tokens(), expected);
        EXPECT_GT(reader->cached_on_disk(), 400);
        EXPECT_EQ(writer->generation().completion_tokens(), 100u);
    }
}

// Whatever the budget, the damage, and the order of things: the text is the same.
TEST_F(DiskPrefixes, DamageCostsTimeOnly) {
    std::mt19937 random(9);
    std::vector<Tokens> prompts, expected;
    for (std::size_t n : {90, 200, 300, 430}) prompts.push_back(prompt(n));
    prompts.push_back(prompts[2]);
    prompts.back().insert(prompts.back().end(), prose.begin(), prose.begin() + 80);
    for (const auto& p : prompts) expected.push_back(Process({}).answer(p, 8));
    std::int64_t hits = 0;
    for (int round = 0; round < 6; ++round) {
        SchedulerOptions options;
        {
            Engine engine(test::nano(), {2, Precision::exact, KvPrecision::reference, 64, 600});
            if (round % 2) options.memory = Scheduler::least_memory(engine);
        }
        Process p(kv, options);
        for (int i = 0; i < 3; ++i) {
            const auto which = random() % prompts.size();
            EXPECT_EQ(p.answer(prompts[which], 8), expected[which]) << round;
        }
        hits += p.scheduler->hits_on_disk();
        if (options.memory) {
            EXPECT_LE(p.engine.kv_memory().peak(), options.memory);
        }
        p.disk->flush();
        for (const auto& entry : std::filesystem::directory_iterator(kv)) {
            if (!entry.path().filename().string().starts_with("pages-") || entry.file_size() == 0) continue;
            std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(static_cast<std::streamoff>(random() % entry.file_size()));
            file.put('x');
        }
    }
    EXPECT_GT(hits, 0);
}

TEST_F(DiskPrefixes, AnotherPrecisionIsAnotherModel) {
    const Engine fast(test::nano(), {2}), exact(test::nano(), {2, Precision::exact}), one(test::nano(), {1}),
        f32(test::nano(), {2, Precision::fast, KvPrecision::f32});
    EXPECT_EQ(state_fingerprint(fast), state_fingerprint(one));
    EXPECT_NE(state_fingerprint(fast), state_fingerprint(exact));
    EXPECT_NE(state_fingerprint(fast), state_fingerprint(f32));
}

}  // namespace
}  // namespace cachalot
