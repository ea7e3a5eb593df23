#include "measure/cache_simulator.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "base/error.h"
#include "experts/expert_budget.h"
#include "measure/synthetic_trace.h"

namespace cachalot {
namespace {

RouteTrace recorded(const std::string& name) {
    return read_route_trace(std::string(CACHALOT_TEST_DATA) + "/routes/" + name + ".route");
}

int share(const RouteTrace& trace, double part) {
    return static_cast<int>(std::lround(part * trace.header.layers * trace.header.experts));
}

double hits(const RouteTrace& trace, int slots, std::string_view policy, const PolicyOptions& options = {}) {
    return 100 * summarize(replay(trace, slots, policy, options)).hit_rate;
}

std::vector<std::string> online() {
    std::vector<std::string> names;
    for (const auto& p : online_policies()) names.push_back(p.name);
    return names;
}

// Hit rates that others found for the same traces, at 10 % and 20 % of all experts.
struct Reference {
    const char *trace, *policy;
    double at_10, at_20;
};

TEST(Recorded, HitRatesAreThoseThatArePublished) {
    for (const auto& r :
         {Reference{"qwen", "belady", 75.0, 89.3}, Reference{"gemma", "belady", 74.0, 87.7},
          Reference{"gptoss", "belady", 79.0, 89.1}, Reference{"qwen", "lru", 50.2, 74.1},
          Reference{"gemma", "lru", 49.4, 72.7}, Reference{"gptoss", "lru", 60.2, 76.4},
          Reference{"qwen", "lru-layer", 54.3, 74.9}, Reference{"gemma", "lru-layer", 54.7, 73.7},
          Reference{"gptoss", "lru-layer", 60.9, 76.2}}) {
        SCOPED_TRACE(std::string(r.trace) + " " + r.policy);
        const auto trace = recorded(r.trace);
        EXPECT_NEAR(hits(trace, share(trace, 0.1), r.policy), r.at_10, 0.2);
        EXPECT_NEAR(hits(trace, share(trace, 0.2), r.policy), r.at_20, 0.2);
    }
    const auto qwen = recorded("qwen");
    EXPECT_NEAR(hits(qwen, share(qwen, 0.1), "redis", {{10, 0, false}}), 15.1, 1);
    EXPECT_EQ(hits(qwen, share(qwen, 0.04), "lru"), 0);
}

// What the shipped policy is chosen for.
TEST(Recorded, TheShippedPolicyClosesAQuarterOfTheGap) {
    for (const auto& [part, least] : {std::pair(0.1, 0.28), {0.2, 0.20}}) {
        double closed = 0;
        for (const char* name : {"qwen", "gemma", "gptoss"}) {
            const auto trace = recorded(name);
            const int slots = share(trace, part);
            const double lru = hits(trace, slots, "lru"), shipped = hits(trace, slots, kShippedPolicy);
            EXPECT_GE(shipped, lru) << name << " " << part;
            closed += gap_closed(shipped, lru, hits(trace, slots, "belady")) / 3;
        }
        EXPECT_GE(closed, least) << part;
    }
}

TEST(Recorded, TheShippedPolicyIsNoWorseThanLruWhenPromptsAreReadInOnePass) {
    for (const char* name : {"qwen", "gemma", "gptoss"}) {
        auto trace = recorded(name);
        regroup_prompts(trace, 4096);
        for (const double part : {0.05, 0.2})
            EXPECT_GE(hits(trace, share(trace, part), kShippedPolicy), hits(trace, share(trace, part), "lru"))
                << name << " " << part;
    }
}

TEST(Replay, IsTheSameEveryTime) {
    const auto trace = recorded("gptoss");
    for (const auto& name : online()) {
        const auto a = replay(trace, 300, name), b = replay(trace, 300, name);
        EXPECT_EQ(a.decode, b.decode) << name;
        EXPECT_EQ(a.prompt, b.prompt) << name;
        EXPECT_EQ(a.evictions, b.evictions) << name;
    }
}

// A trace of one layer, written down.
RouteTrace small_trace(const std::vector<std::vector<std::uint16_t>>& tokens) {
    RouteTrace trace;
    trace.header = {"small", 1, 8, 4, {1000}};
    for (auto choices : tokens) {
        choices.resize(4, kNoExpert);
        trace.add({}, choices);
    }
    return trace;
}

TEST(Replay, CountsBytesAndStall) {
    const auto trace = small_trace({{0, 1, 2}, {0, 1}, {0, 5}});
    DiskModel disk;
    disk.bytes_per_second = 1e6;
    disk.latency = 0.5e-3;
    disk.layer_compute = 0.25e-3;
    const auto r = replay(trace, 3, "lru", {}, disk);
    EXPECT_EQ(r.decode, (ExpertCache::Counters{7, 3, 4}));
    EXPECT_EQ(r.evictions, 1u);
    ASSERT_EQ(r.passes.size(), 3u);
    EXPECT_EQ(r.passes[0].bytes, 3000u);
    EXPECT_NEAR(r.passes[0].stall, 3.25e-3, 1e-9);
    EXPECT_EQ(r.passes[1].stall, 0);
    EXPECT_NEAR(r.passes[2].stall, 1.25e-3, 1e-9);
    const auto s = summarize(r);
    EXPECT_NEAR(s.bytes_mean, 4000.0 / 3, 1e-6);
    EXPECT_EQ(s.bytes_p95, 3000);
    EXPECT_NEAR(s.hit_rate, 3.0 / 7, 1e-9);
}

TEST(Replay, ALayerThatNeedsMoreThanAllSlotsIsReadInTurns) {
    const auto trace = small_trace({{0, 1, 2, 3}, {0, 1, 2, 3}});
    for (const auto& name : online()) {
        const auto r = replay(trace, 2, name);
        EXPECT_EQ(r.decode.lookups, 8u) << name;
        EXPECT_EQ(r.unplaced, 0u) << name;
    }
    EXPECT_EQ(floor_of(2, demand(trace)), Floor::layer);
    EXPECT_EQ(floor_of(4, demand(trace)), Floor::tight);
    EXPECT_EQ(floor_of(5, demand(trace)), Floor::none);
}

TEST(Replay, ALayerWithoutAShareIsReadWithoutASlot) {
    RouteTrace trace;
    trace.header = {"two layers", 2, 4, 1, {10, 20}};
    for (int i = 0; i < 3; ++i) trace.add({}, std::vector<std::uint16_t>{1, 2});
    const auto r = replay(trace, 1, "lru-layer");
    EXPECT_EQ(r.decode.hits, 2u);
    EXPECT_EQ(r.unplaced, 3u);
    EXPECT_EQ(r.passes[2].bytes, 20u);
    EXPECT_EQ(floor_of(1, demand(trace)), Floor::token);
}

TEST(Replay, APassLooksUpAnExpertOnceForAllItsTokens) {
    auto trace = small_trace({{0, 1}, {1, 2}, {2, 0}});
    trace.tokens[1].same_pass = trace.tokens[2].same_pass = true;
    const auto r = replay(trace, 8, "lru");
    EXPECT_EQ(r.decode, (ExpertCache::Counters{3, 0, 3}));
    ASSERT_EQ(r.passes.size(), 1u);
    EXPECT_EQ(r.passes[0].tokens, 3);
    EXPECT_EQ(lookups(trace), (std::vector<ExpertKey>{0, 1, 2}));
    EXPECT_EQ(summarize(r).bytes_mean, 1000);
}

TEST(Replay, TellsColdSettledAndANewTopicApart) {
    SyntheticTraceOptions options;
    options.tokens = 200;
    options.topics = 2;
    options.zipf = 1.5;
    const auto trace = synthetic_trace(options);
    const auto s = summarize(replay(trace, share(trace, 0.3), "forecast"));
    ASSERT_TRUE(s.cold_hit_rate && s.topic_hit_rate && s.settled_hit_rate);
    EXPECT_LT(*s.cold_hit_rate, *s.settled_hit_rate);
    EXPECT_LT(*s.topic_hit_rate, *s.settled_hit_rate);
    EXPECT_FALSE(summarize(replay(recorded("gptoss"), 100, "lru")).topic_hit_rate);
}

// A prompt that is read in one pass needs nearly every expert; the answer should still find those that the
// prompt needed most.
TEST(Replay, ALongPromptDoesNotFloodTheShippedPolicy) {
    SyntheticTraceOptions options;
    options.layers = 4;
    options.experts = 128;
    options.tokens = 64;
    options.prompt = 2000;
    const auto trace = synthetic_trace(options);
    const int slots = share(trace, 0.2);
    const double lru = summarize(replay(trace, slots, "lru")).cold_hit_rate.value();
    EXPECT_GT(summarize(replay(trace, slots, kShippedPolicy)).cold_hit_rate.value(), lru + 0.1);
}

TEST(Replay, JoinsTracesOfOneShape) {
    SyntheticTraceOptions options;
    options.tokens = 10;
    const auto a = synthetic_trace(options);
    const auto both = joined({a, a});
    EXPECT_EQ(both.tokens.size(), 20u);
    EXPECT_EQ(both.tokens[10].sequence, 1u);
    EXPECT_TRUE(summarize(replay(both, 100, "lru")).topic_hit_rate);
    options.layers = 3;
    EXPECT_THROW(joined({a, synthetic_trace(options)}), Error);
}

TEST(Replay, SlotsAreThoseOfTheLargestExpert) {
    const RouteHeader header = {"m", 2, 8, 2, {100, 300}};
    EXPECT_EQ(slots_of(header, 299), 0);
    EXPECT_EQ(slots_of(header, 900), 3);
    EXPECT_EQ(slots_of(header, 1u << 30), 16);
}

// Whatever the traffic: no policy has more hits than Belady's, all see the same lookups, and a larger Belady
// cache is no worse.
RC_GTEST_PROP(Replay, NoPolicyBeatsBelady, ()) {
    SyntheticTraceOptions options;
    options.layers = *rc::gen::inRange(1, 6);
    options.experts = *rc::gen::inRange(2, 24);
    options.top_k = *rc::gen::inRange(1, std::min(6, options.experts) + 1);
    options.tokens = *rc::gen::inRange(4, 60);
    options.topics = *rc::gen::inRange(1, 4);
    options.prompt = *rc::gen::inRange(0, 8);
    options.zipf = *rc::gen::inRange(0, 20) / 10.0;
    options.repeat = *rc::gen::inRange(0, 10) / 10.0;
    options.seed = *rc::gen::arbitrary<std::uint64_t>();
    auto trace = synthetic_trace(options);
    regroup_prompts(trace, 1);
    // With less than a layer needs its experts would not have to be kept together, as Belady's policy does. A
    // share of the slots for each layer is that small sooner.
    const int slots = *rc::gen::inRange(options.top_k, options.layers * options.experts + 1);
    const auto best = replay(trace, slots, "belady");
    for (const auto& name : online()) {
        if (name == "lru-layer" && slots < options.top_k * options.layers) continue;
        const auto r = replay(trace, slots, name);
        RC_ASSERT(r.decode.lookups == best.decode.lookups);
        RC_ASSERT(r.unplaced == 0u);
        RC_ASSERT(r.decode.hits + r.prompt.hits <= best.decode.hits + best.prompt.hits);
    }
    const auto larger = replay(trace, slots + 1, "belady");
    RC_ASSERT(larger.decode.hits + larger.prompt.hits >= best.decode.hits + best.prompt.hits);
}

}  // namespace
}  // namespace cachalot
