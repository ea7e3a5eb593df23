// What is planned fits, and is as much as fits.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include "base/error.h"
#include "engine/speed_estimate.h"
#include "model/cost.h"
#include "model/synthetic.h"
#include "support/nano.h"
#include "support/tiny_release.h"

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

// Its weights, the windows in the states, and the rows of its passes; nothing where it is not used.
TEST(MemoryPlan, CountsTheDrafter) {
    const auto mtp = test::nano_mtp();
    const auto with_dspark = Model::load(CACHALOT_MODELS "/nano/nano.gguf",
                                         {.engram = {}, .drafter = CACHALOT_MODELS "/nano/nano-dspark.gguf"});
    PlanRequest request{std::uint64_t(64) << 30, 1000};
    const auto plain = plan_memory(nano(), request);
    EXPECT_EQ(plan_memory(*mtp, request).needed(), plain.needed());
    request.drafter = true;
    EXPECT_EQ(plan_memory(nano(), request).needed(), plain.needed());
    const auto dspark = plan_memory(*with_dspark, request), one = plan_memory(*mtp, request);
    EXPECT_NEAR(static_cast<double>(dspark.drafter), 13.7e6, 0.4e6);
    EXPECT_NEAR(static_cast<double>(one.drafter), 4.3e6, 0.2e6);
    EXPECT_EQ(dspark.needed(), plain.needed() + dspark.drafter + dspark.buffers - plain.buffers);
    EXPECT_GT(one.buffers, plain.buffers);
    EXPECT_GT(dspark.buffers, one.buffers);
    request.sequences = 8;
    EXPECT_EQ(plan_memory(*mtp, request).buffers - plain.buffers, 8 * (one.buffers - plain.buffers));
    const auto states = [&](const DraftModel* drafter) {
        return states_bytes(nano().config, KvPrecision::reference, 4096, drafter);
    };
    EXPECT_GT(states(mtp->draft.get()), states(nullptr));
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

ModelSize v41_flash(const std::string& recipe = "") {
    const Config config = known_config("v41-flash");
    return size_of(config, recipe.empty() ? TypeOf(release_type) : with_recipe(recipe, config, release_type));
}

TEST(MemoryPlan, SlotsOfAModelThatIsNotThereAreLargeEnough) {
    test::TemporaryFolder folder;
    const SyntheticOptions options;
    const Config config = known_config("v41-tiny");
    write_synthetic(config, options, folder.path() / "m.gguf");
    const auto real = size_of(*Model::load(folder.path() / "m.gguf"));
    const auto planned =
        size_of(config, [&](const TensorSpec& spec) { return synthetic_type(spec, options); });
    ASSERT_EQ(planned.experts.expert_bytes.size(), real.experts.expert_bytes.size());
    for (std::size_t l = 0; l < planned.experts.expert_bytes.size(); ++l) {
        EXPECT_GE(planned.experts.expert_bytes[l], real.experts.expert_bytes[l]);
        EXPECT_LE(planned.experts.expert_bytes[l], real.experts.expert_bytes[l] + 3 * 4096);
    }
    EXPECT_EQ(planned.experts.top_k, real.experts.top_k);
}

// From the release no machine of these sizes has room for all; of smaller types, half of the experts and
// more.
TEST(MemoryPlan, TheWholeModelOnMachinesOfSomeSizes) {
    const auto states = states_bytes(known_config("v41-flash"), KvPrecision::reference, 32768);
    int before = 0;
    for (const std::uint64_t memory : {64, 128, 256}) {
        const auto plan = plan_memory(v41_flash(), {memory * 1'000'000'000, states});
        EXPECT_FALSE(plan.resident());
        EXPECT_EQ(plan.missing, 0u);
        EXPECT_LE(plan.needed(), plan.available);
        EXPECT_GT(plan.needed(), plan.available - 2 * v41_flash().experts.largest_expert());
        EXPECT_EQ(plan.engram_cache, plan.engram / 100);
        EXPECT_GT(plan.slots, before);
        before = plan.slots;
    }
    EXPECT_GT(before, 15360 * 6 / 10);
    const auto small = plan_memory(v41_flash("q2"), {256'000'000'000, states});
    EXPECT_TRUE(small.resident());
    EXPECT_TRUE(small.engram_on_disk());
    EXPECT_EQ(small.engram_cache, small.engram / 100);
    EXPECT_LE(small.needed(), small.available);
    const auto all = plan_memory(v41_flash(), {600'000'000'000, states});
    EXPECT_FALSE(all.engram_on_disk());
    EXPECT_EQ(all.engram_cache, 0u);
}

// A missing expert costs much more than a missing row.
TEST(MemoryPlan, RowsOfTablesGetASmallPartOfWhatExpertsNeed) {
    const auto size = v41_flash();
    for (const std::uint64_t memory : {22, 30, 40}) {
        const auto plan = plan_memory(size, {memory * 1'000'000'000, 0, 512});
        EXPECT_TRUE(plan.engram_on_disk());
        EXPECT_LE(plan.engram_cache, (plan.expert_cache + plan.engram_cache) / 15);
        EXPECT_LE(plan.engram_cache, plan.engram / 100);
    }
    EXPECT_EQ(plan_memory(size, {1'000'000'000, 0}).engram_cache, 0u);
}

// 2.5 rows a token, of 288 bytes and 68 for the indexer.
TEST(MemoryPlan, StatesOfTheWholeModelAreThoseOfItsFormat) {
    const Config config = known_config("v41-flash");
    const auto bytes = [&](std::int64_t tokens) {
        return states_bytes(config, KvPrecision::reference, tokens);
    };
    const double token = static_cast<double>(bytes(1 << 20) - bytes(1 << 19)) / (1 << 19);
    EXPECT_GE(token, 890);
    EXPECT_LE(token, 1.03 * 890);
    // Windows of 40 layers, with what may be taken back, and the unfinished rows of three sources.
    const double rings = 40 * (128 + 64) * 528 + 3 * 2 * (2 + 64) * 512 * 4;
    EXPECT_NEAR(static_cast<double>(bytes(1) - 2 * 256 * 890), rings, 0.02 * rings);
}

// What a model's states take is what the plan says, at any length.
TEST(MemoryPlan, StatesTakeWhatIsPlanned) {
    test::TemporaryFolder folder;
    for (const char* name : {"tiny", "v41-tiny"}) {
        SCOPED_TRACE(name);
        const Config config = known_config(name);
        const auto path = folder.path() / (std::string(name) + ".gguf");
        write_synthetic(config, {}, path);
        Engine engine(Model::load(path), {2});
        const KvLayout layout(config, KvPrecision::reference);
        double row = 0;  // bytes of a token's rows, as their formats say
        for (int l = 0; l < config.layers; ++l)
            if (const auto& s = config.shape(l); s.kv_source == l)
                row += static_cast<double>(layout.compressed_format().bytes() +
                                           (s.indexer ? layout.index_format().bytes() : 0)) /
                       s.ratio;
        std::int64_t empty = 0;
        for (const std::int64_t tokens : {1, 256, 1024, 2048}) {
            auto state = engine.new_state();
            std::vector<std::int32_t> ids;
            for (std::int64_t i = 0; i < std::min<std::int64_t>(tokens, 300); ++i)
                ids.push_back(static_cast<std::int32_t>(i * 37 % 1000));
            engine.prefill(state, ids);
            state.extend(tokens - std::ssize(ids));  // room for the rest
            const std::int64_t real = engine.kv_memory().bytes();
            EXPECT_EQ(real + layout.page_bytes(), states_bytes(config, KvPrecision::reference, tokens));
            if (tokens == 1) empty = real;
            if (tokens > 1000) {
                const double each = static_cast<double>(real - empty) / static_cast<double>(tokens - 256);
                EXPECT_GE(each, row * 0.999);
                EXPECT_LE(each, 1.03 * row);
            }
        }
    }
}

// Bytes that the program has on its heap; 0 where that is not known.
std::int64_t heap_bytes() {
    const auto info = mallinfo2();
    return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
}

// A token of a pass takes what the plan says, within a tenth.
TEST(MemoryPlan, BuffersTakeWhatIsPlanned) {
    if (heap_bytes() == 0) GTEST_SKIP() << "the heap is not glibc's";
    test::TemporaryFolder folder;
    for (const char* name : {"tiny", "v41-tiny"}) {
        SCOPED_TRACE(name);
        const Config config = known_config(name);
        const auto path = folder.path() / (std::string(name) + ".gguf");
        write_synthetic(config, {}, path);
        const auto model = Model::load(path);
        auto growth = [&](int rows) {  // of an engine that has evaluated a pass of so many tokens
            EngineOptions options{2};
            options.chunk = rows;
            Engine engine(model, options);
            auto state = engine.new_state();
            std::vector<std::int32_t> ids;
            for (int i = 0; i < rows; ++i) ids.push_back(i * 37 % 1000);
            const auto before = heap_bytes();
            engine.prefill(state, ids);
            return heap_bytes() - before - engine.kv_memory().bytes();
        };
        const double row = static_cast<double>(growth(1280) - growth(256)) / 1024;
        EXPECT_NEAR(row, static_cast<double>(pass_row_bytes(config)), 0.1 * row);
    }
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
    const auto fast = estimate_speed(size_of(nano()), all, 1e9, 1e3);
    const double cost = static_cast<double>(token_cost(nano().config, nano().weights).bytes);
    EXPECT_EQ(fast.bytes_read.high, 0);
    EXPECT_NEAR(fast.tokens_per_second.high, 0.9 * 1e9 / cost, 1);
    auto some = all;
    some.slots = all.experts / 4;
    some.expert_cache = 1;
    const auto slow = estimate_speed(size_of(nano()), some, 1e9, 1e6);
    EXPECT_GT(slow.hit_rate.high, slow.hit_rate.low);
    EXPECT_NEAR(slow.tokens_per_second.high, 1e6 / slow.bytes_read.low, 1);
    EXPECT_NEAR(slow.tokens_per_second.low, 1 / (cost / 0.4e9 + slow.bytes_read.high / 1e6), 1e-3);
    const double experts =
        static_cast<double>(all.routed_experts) * nano().config.experts_per_token / nano().config.experts;
    EXPECT_NEAR(slow.bytes_read.high, experts * (1 - slow.hit_rate.low), 1);
    EXPECT_GT(measure_expert_reads(nano(), 0.01), 0);
}

// 6 of 384 experts in 40 layers, and a block for each of 48 rows of Engram.
TEST(SpeedEstimate, OfV41CountsRowsOfTables) {
    const auto size = v41_flash();
    const auto plan = plan_memory(size, {128'000'000'000, 0});
    const auto speed = estimate_speed(size, plan, 100e9, 7e9);
    const double experts = 40 * 6 * 18'800'640.0;
    EXPECT_NEAR(speed.bytes_read.high, experts * (1 - speed.hit_rate.low) + 48 * 4096, 1);
    EXPECT_NEAR(speed.bytes_read.low, experts * (1 - speed.hit_rate.high), 1);
    EXPECT_EQ(estimate_speed(size, plan_memory(size, {600'000'000'000, 0}), 100e9, 7e9).bytes_read.high, 0);
}

}  // namespace
}  // namespace cachalot
