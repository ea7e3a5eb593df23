// Engines that read Engram tables from disk, beside experts that are read through the same queue.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "engine/open_engine.h"
#include "experts/streaming_engram_store.h"
#include "model/cost.h"
#include "model/synthetic.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

class EngramStreaming : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new test::TemporaryFolder;
        SyntheticOptions options;
        options.threads = 2;
        write_synthetic(known_config("v41-tiny"), options, path());
        model_ = Model::load(path());
    }
    static void TearDownTestSuite() {
        model_.reset();
        delete folder_;
    }
    static std::filesystem::path path() { return folder_->path() / "v41.gguf"; }

    static EngineOptions options() {
        EngineOptions options;
        options.threads = 2;
        options.chunk = 16;
        options.context = 256;
        return options;
    }
    static std::vector<float> evaluate(Engine& engine) {
        std::vector<std::int32_t> ids;
        for (int i = 0; i < 24; ++i) ids.push_back(i * 37 % 11 + 300);
        auto state = engine.new_state();
        const auto logits = engine.prefill(state, std::span(ids).first(20));
        std::vector<float> all(logits.begin(), logits.end());
        for (std::size_t i = 20; i < ids.size(); ++i) {
            const auto more = engine.step(state, std::span(ids).subspan(i, 1), RowsKind::decode);
            all.insert(all.end(), more.begin(), more.end());
        }
        return all;
    }

    static inline test::TemporaryFolder* folder_ = nullptr;
    static inline std::shared_ptr<const Model> model_;
};

TEST_F(EngramStreaming, LogitsAreThoseOfMappedTables) {
    Engine resident(model_, options());
    EXPECT_FALSE(resident.engram_stats());
    const auto expected = evaluate(resident);
    for (const bool experts : {false, true})
        for (const std::uint64_t cache : {0, 4000, 100'000}) {
            auto with = options();
            with.engram_cache = cache;
            if (experts) with.expert_cache = ExpertBudget("25%", "test");
            Engine engine(model_, with);
            EXPECT_EQ(evaluate(engine), expected) << experts << ", " << cache;
            const auto first = *engine.engram_stats();
            EXPECT_EQ(first.prompt.tokens, 20);
            EXPECT_EQ(first.decode.tokens, 4);
            EXPECT_GT(first.prompt.lookups, first.prompt.hits);
            EXPECT_EQ(evaluate(engine), expected);
            const auto second = *engine.engram_stats();
            EXPECT_EQ(second.prompt.hits > first.prompt.hits, cache > 0);
        }
}

TEST_F(EngramStreaming, ThePlanKeepsTablesInMemoryOnlyIfAllFits) {
    const auto tables = weight_bytes(model_->config, model_->weights).engram;
    ASSERT_GT(tables, 0u);
    const auto all = plan_memory(*model_, {std::uint64_t(64) << 30, 0});
    EXPECT_FALSE(all.engram_on_disk());
    EXPECT_EQ(all.engram, tables);

    // Named, they are what was named.
    PlanRequest request{std::uint64_t(64) << 30, 0};
    request.engram_cache = 5000;
    const auto named = plan_memory(*model_, request);
    EXPECT_TRUE(named.engram_on_disk());
    EXPECT_TRUE(named.resident());
    EXPECT_EQ(named.engram_cache, 5000u);
    EXPECT_EQ(named.needed() - named.engram_buffers - 5000, all.needed() - tables);
    request.engram_cache = tables;
    EXPECT_FALSE(plan_memory(*model_, request).engram_on_disk());

    // Too little for the experts: rows get a sixteenth of the rest at most.
    const auto small = plan_memory(*model_, {all.needed() - all.spare - all.routed_experts, 0});
    EXPECT_TRUE(small.engram_on_disk());
    EXPECT_LE(small.engram_cache, tables / 100);
    request = {std::uint64_t(64) << 30, 0};
    request.expert_cache = small.routed_experts / 2;
    const auto half = plan_memory(*model_, request);
    EXPECT_FALSE(half.resident());
    EXPECT_LE(half.expert_cache, small.routed_experts / 2);
    EXPECT_FALSE(half.engram_on_disk());
}

TEST_F(EngramStreaming, OptionsSayWhatIsDone) {
    OpenEngineOptions open;
    open.path = path().string();
    open.threads = 1;
    open.context = 64;
    EXPECT_FALSE(open_engine(open).engram_stats());  // there is room for it
    open.engram_cache = "20%";
    const auto some = open_engine(open).engram_stats();
    ASSERT_TRUE(some);
    EXPECT_GT(some->rows, 0u);
    EXPECT_LE(some->cache_bytes, some->table_bytes / 5);
    open.engram_cache = "off";
    const auto none = open_engine(open).engram_stats();
    ASSERT_TRUE(none);
    EXPECT_EQ(none->rows, 0u);
    open.engram_cache = "all";
    EXPECT_FALSE(open_engine(open).engram_stats());
    open.engram_cache = "1B";
    EXPECT_THROW(open_engine(open), Error);
}

TEST_F(EngramStreaming, AModelWithoutTablesRefusesTheOptions) {
    OpenEngineOptions open;
    open.path = CACHALOT_MODELS "/nano/nano.gguf";
    open.threads = 1;
    for (const char* cache : {"1%", "off", "all"}) {
        open.engram_cache = cache;
        try {
            open_engine(open);
            ADD_FAILURE() << cache;
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr("--engram-cache"));
        }
    }
    open.engram_cache = "auto";
    open.engram = path();
    EXPECT_THROW(open_engine(open), Error);
    EngineOptions direct;
    direct.engram_cache = 1 << 20;
    EXPECT_THROW(Engine(Model::load(open.path), direct), Error);
}

}  // namespace
}  // namespace cachalot
