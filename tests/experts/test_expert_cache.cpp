#include "experts/expert_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "base/error.h"
#include "measure/cache_simulator.h"

namespace cachalot {
namespace {

std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const auto& p : online_policies()) names.push_back(p.name);
    return names;
}

TEST(ExpertCache, GivesSlotsUntilTheyAreUsedUpThenEvicts) {
    const CacheShape shape{1, 8, 2};
    ExpertCache cache(shape, make_lru(shape));
    cache.begin_pass(1, false);
    std::vector<std::int32_t> experts = {3, 5}, counts = {1, 1};
    std::vector<int> slots(2);
    cache.select(0, experts, counts, slots);
    EXPECT_EQ(slots, (std::vector<int>{ExpertCache::kNoSlot, ExpertCache::kNoSlot}));
    const int a = cache.place(3), b = cache.place(5);
    EXPECT_NE(a, b);
    EXPECT_EQ(cache.residents(), 2);
    cache.release(3);
    EXPECT_EQ(cache.place(7), a);  // 5 is pinned
    EXPECT_EQ(cache.slot(3), ExpertCache::kNoSlot);
    EXPECT_EQ(cache.place(1), ExpertCache::kNoSlot);  // all are pinned
    cache.release(5);
    EXPECT_EQ(cache.place(1), b);
    EXPECT_EQ(cache.evictions(), 2u);
}

TEST(ExpertCache, CountsPromptAndAnswersApart) {
    const CacheShape shape{1, 8, 4};
    ExpertCache cache(shape, make_lru(shape));
    std::vector<std::int32_t> experts = {3, 5}, counts = {2, 1};
    std::vector<int> slots(2);
    cache.begin_pass(2, true);
    cache.select(0, experts, counts, slots);
    cache.place(3);
    cache.release(3);
    cache.begin_pass(1, false);
    cache.select(0, experts, counts, slots);
    EXPECT_EQ(slots[0], cache.slot(3));
    EXPECT_EQ(cache.prompt(), (ExpertCache::Counters{2, 0, 2}));
    EXPECT_EQ(cache.decode(), (ExpertCache::Counters{2, 1, 1}));
}

TEST(ExpertCache, AHitIsPinnedUntilReleased) {
    const CacheShape shape{1, 8, 1};
    ExpertCache cache(shape, make_lru(shape));
    std::vector<std::int32_t> experts = {3}, counts = {1};
    std::vector<int> slots(1);
    cache.place(3);
    cache.release(3);
    cache.select(0, experts, counts, slots);
    EXPECT_EQ(cache.place(4), ExpertCache::kNoSlot);
    cache.release(3);
    EXPECT_EQ(cache.place(4), slots[0]);
}

TEST(ExpertCache, ADroppedExpertIsGoneAndItsSlotFree) {
    for (const auto& name : names()) {
        SCOPED_TRACE(name);
        const CacheShape shape{2, 8, 2};
        ExpertCache cache(shape, make_policy(name, shape));
        const ExpertKey key = shape.key(1, 3);
        const int slot = cache.place(key);
        cache.drop(key);
        EXPECT_EQ(cache.residents(), 0);
        EXPECT_EQ(cache.slot(key), ExpertCache::kNoSlot);
        EXPECT_EQ(cache.place(key), slot);
    }
}

TEST(ExpertCache, AWaveIsAnEighthOfTheSlotsButNotLessThanATokenNeeds) {
    for (const auto& [slots, wave] : {std::pair(5, 5), {100, 16}, {800, 100}}) {
        const CacheShape shape{1, 1000, slots};
        EXPECT_EQ(ExpertCache(shape, make_lru(shape)).wave(), wave);
    }
}

TEST(ExpertCache, RefusesACacheOfNothing) {
    const CacheShape shape{2, 8, 0};
    EXPECT_THROW(ExpertCache(shape, make_lru(shape)), Error);
    EXPECT_THROW(make_policy("clock", shape), Error);
}

// Random traffic, as an engine with reads in flight over several layers would make it: whatever the policy,
// pinned experts stay, no two share a slot, the budget is kept and the counters add up.
RC_GTEST_PROP(ExpertCache, KeepsItsPromisesUnderAnyTraffic, ()) {
    const auto name = *rc::gen::elementOf(names());
    const int layers = *rc::gen::inRange(1, 5), experts = *rc::gen::inRange(1, 12);
    const CacheShape shape{layers, experts, *rc::gen::inRange(1, layers * experts + 1)};
    ExpertCache cache(shape, make_policy(name, shape));
    std::vector<ExpertKey> pinned;
    std::uint64_t asked = 0;
    const int passes = *rc::gen::inRange(1, 30);
    for (int pass = 0; pass < passes; ++pass) {
        cache.begin_pass(*rc::gen::inRange(1, 40), *rc::gen::arbitrary<bool>());
        for (int layer = 0; layer < layers; ++layer) {
            const unsigned chosen = *rc::gen::inRange(0u, 1u << experts);
            std::vector<std::int32_t> list;
            for (int e = 0; e < experts; ++e)
                if (chosen >> e & 1) list.push_back(e);
            const std::vector<std::int32_t> counts(list.size(), 1);
            std::vector<int> slots(list.size());
            cache.select(layer, list, counts, slots);
            asked += list.size();
            for (std::size_t i = 0; i < list.size(); ++i) {
                const ExpertKey key = shape.key(layer, list[i]);
                RC_ASSERT(slots[i] == cache.slot(key));
                if (slots[i] == ExpertCache::kNoSlot) slots[i] = cache.place(key);
                if (slots[i] != ExpertCache::kNoSlot) pinned.push_back(key);
            }
            while (!pinned.empty() && *rc::gen::inRange(0, 3) != 0) {
                const auto at = *rc::gen::inRange<std::size_t>(0, pinned.size());
                cache.release(pinned[at]);
                pinned.erase(pinned.begin() + static_cast<std::ptrdiff_t>(at));
            }
            for (const ExpertKey key : pinned) RC_ASSERT(cache.slot(key) != ExpertCache::kNoSlot);
        }
    }
    std::set<int> used;
    int residents = 0;
    for (ExpertKey key = 0; key < shape.keys(); ++key) {
        if (cache.slot(key) == ExpertCache::kNoSlot) continue;
        ++residents;
        used.insert(cache.slot(key));
        RC_ASSERT(cache.slot(key) >= 0 && cache.slot(key) < shape.slots);
    }
    RC_ASSERT(residents == cache.residents() && used.size() == static_cast<std::size_t>(residents));
    const auto &d = cache.decode(), &p = cache.prompt();
    RC_ASSERT(d.lookups + p.lookups == asked);
    RC_ASSERT(d.hits + d.misses == d.lookups && p.hits + p.misses == p.lookups);
}

}  // namespace
}  // namespace cachalot
