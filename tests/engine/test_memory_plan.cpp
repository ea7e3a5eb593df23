// What is planned fits, and is as much as fits.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/speed_estimate.h"
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
    const auto bytes = weight_bytes(nano().config, nano().weights);
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

TEST(SpeedEstimate, FollowsThePublishedCurve) {
    EXPECT_NEAR(expected_hit_rate(0.055), 0.405, 1e-9);
    EXPECT_NEAR(expected_hit_rate(0.44), 0.865, 1e-9);
    EXPECT_EQ(expected_hit_rate(0), 0);
    EXPECT_EQ(expected_hit_rate(1), 1);
    EXPECT_EQ(expected_hit_rate(7), 1);
    double before = -1;
    for (int i = 0; i <= 100; ++i) {
        EXPECT_GT(expected_hit_rate(i / 100.0), before);
        before = expected_hit_rate(i / 100.0);
    }
}

TEST(SpeedEstimate, IsBetweenAllAtOnceAndOneAfterTheOther) {
    const auto all = plan_memory(nano(), {std::uint64_t(64) << 30, 0});
    const auto fast = estimate_speed(nano(), all, 1e9, 1e3);
    const double cost = static_cast<double>(token_cost(nano().config, nano().weights).bytes);
    EXPECT_EQ(fast.bytes_read.high, 0);
    EXPECT_NEAR(fast.tokens_per_second.high, 0.9 * 1e9 / cost, 1);
    auto some = all;
    some.slots = all.experts / 4;
    some.expert_cache = 1;
    const auto slow = estimate_speed(nano(), some, 1e9, 1e6);
    EXPECT_GT(slow.hit_rate.high, slow.hit_rate.low);
    EXPECT_NEAR(slow.tokens_per_second.high, 1e6 / slow.bytes_read.low, 1);
    EXPECT_NEAR(slow.tokens_per_second.low, 1 / (cost / 0.4e9 + slow.bytes_read.high / 1e6), 1e-3);
    const double experts =
        static_cast<double>(all.routed_experts) * nano().config.experts_per_token / nano().config.experts;
    EXPECT_NEAR(slow.bytes_read.high, experts * (1 - slow.hit_rate.low), 1);
    EXPECT_GT(measure_expert_reads(nano(), 0.01), 0);
}

}  // namespace
}  // namespace cachalot
