// Conversations go on after a restart from what is on disk, with the same text as without.
#include <gtest/gtest.h>

#include <fstream>
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
        explicit Process(const std::filesystem::path& folder, SchedulerOptions options = {})
            : engine(test::nano(), {2, Precision::exact, KvPrecision::reference, 64, 600}) {
            if (!folder.empty()) {
                DiskTierOptions o;
                o.folder = folder;
                o.budget = 8 << 20;
                o.model = state_fingerprint(engine);
                auto shape = engine.new_state();
                disk.emplace(o, shape);
                options.disk = &*disk;
            }
            scheduler.emplace(engine, options);
        }
        Tokens answer(const Tokens& prompt, std::int64_t tokens, std::int64_t* cached = nullptr) {
            GenerationOptions o;
            o.sampling.temperature = 0;
            o.max_tokens = tokens;
            o.ignore_eos = true;
            auto s = std::make_shared<Sequence>(Generation(engine, prompt, o), SequenceOptions{});
            scheduler->submit(s);
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
    EXPECT_GE(cached, 419);
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
