// What is planned fits, and is as much as fits.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/cost.h"

namespace cachalot {
namespace {

const Model& nano() {
    static const auto model = Model::load(CACHALOT_MODELS "/nano/nano.gguf");
    return *model;
}

TEST(MemoryPlan, EverythingThatFitsIsResident) {
    const auto plan = plan_memory(nano(), {std::uint64_t(64) << 30, 1000});
    EXPECT_TRUE(plan.resident());
    EXPECT_EQ(plan.slots, plan.experts);
    EXPECT_EQ(plan.missing, 0u);
    const auto bytes = weight_bytes(nano().weights);
    EXPECT_EQ(plan.routed_experts, bytes.routed_experts);
    EXPECT_EQ(plan.needed(), bytes.embedding + bytes.dense + bytes.shared_experts + bytes.routed_experts +
                                 1000 + plan.buffers + plan.spare);
}

TEST(MemoryPlan, ExpertsGetWhatIsLeft) {
    int before = 0;
    const auto all = plan_memory(nano(), {std::uint64_t(64) << 30, 0});
    const std::uint64_t fixed = all.needed() - all.spare - all.routed_experts;
    for (std::uint64_t room = 4'000'000; room < 24'000'000; room += 2'000'000) {
        const auto plan = plan_memory(nano(), {(fixed + room) * 20 / 19 + 20, 0});
        ASSERT_FALSE(plan.resident()) << room;
        EXPECT_LE(plan.needed(), plan.available);
        EXPECT_EQ(plan.missing, 0u);
        EXPECT_LT(room - plan.expert_cache, plan.expert_cache / static_cast<unsigned>(plan.slots) + 40);
        EXPECT_GT(plan.slots, before);
        before = plan.slots;
    }
}

TEST(MemoryPlan, LongPassesWithACacheIfThereIsMemoryForThem) {
    const auto& config = nano().config;
    EXPECT_EQ(plan_memory(nano(), {std::uint64_t(64) << 30, 0}).chunk, 512);
    EXPECT_EQ(streaming_chunk(config, std::uint64_t(64) << 30), 4096);
    EXPECT_EQ(streaming_chunk(config, 8 * 2048 * pass_row_bytes(config)), 2048);
    EXPECT_EQ(streaming_chunk(config, 8 * 2048 * pass_row_bytes(config) - 1), 1024);
    EXPECT_EQ(streaming_chunk(config, 0), 512);
    const auto chosen = plan_memory(nano(), {100'000'000, 0, 64});
    EXPECT_EQ(chosen.chunk, 64);
    EXPECT_LT(chosen.buffers, plan_memory(nano(), {100'000'000, 0}).buffers);
}

TEST(MemoryPlan, TooLittleIsSaid) {
    const auto plan = plan_memory(nano(), {1'000'000, 0});
    EXPECT_EQ(plan.slots, 2 * nano().config.experts_per_token);
    EXPECT_EQ(plan.missing, plan.needed() - 1'000'000);
}

TEST(MemoryPlan, StatesGrowWithTheContext) {
    const auto& config = nano().config;
    EXPECT_GT(states_bytes(config, KvPrecision::reference, 4096),
              states_bytes(config, KvPrecision::reference, 512));
    EXPECT_GT(states_bytes(config, KvPrecision::f32, 4096),
              states_bytes(config, KvPrecision::reference, 4096));
}

}  // namespace
}  // namespace cachalot
