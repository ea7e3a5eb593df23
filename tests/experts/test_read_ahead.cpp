// Places to read ahead into: never two experts in one, never one in two, and none given away while it is
// written to.
#include "experts/read_ahead.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

namespace cachalot {
namespace {

constexpr auto kNever = [](ExpertKey) { return false; };
constexpr auto kAlways = [](ExpertKey) { return true; };

std::vector<ReadAhead::Wanted> certain(const std::vector<ExpertKey>& keys) {
    std::vector<ReadAhead::Wanted> wanted;
    for (const auto key : keys) wanted.push_back({key, ReadClass::certain});
    return wanted;
}

TEST(ReadAhead, ReadsInOrderIntoThePlacesThereAre) {
    ReadAhead ahead(10, 2);
    EXPECT_FALSE(ahead.start());
    ahead.plan(certain({7, 3, 5}), kNever);
    const auto a = ahead.start(), b = ahead.start();
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->key, 7u);
    EXPECT_EQ(b->key, 3u);
    EXPECT_EQ((std::set<int>{a->memory, b->memory}), (std::set<int>{10, 11}));
    EXPECT_FALSE(ahead.start());
    EXPECT_TRUE(ahead.finished(7, true));
    EXPECT_FALSE(ahead.finished(5, true));
    EXPECT_FALSE(ahead.take(5, 1));
    const auto taken = ahead.take(7, 4);  // the slot's memory comes in its place
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->memory, a->memory);
    EXPECT_TRUE(taken->arrived);
    ahead.plan(certain({3, 5}), kNever);
    const auto c = ahead.start();
    ASSERT_TRUE(c);
    EXPECT_EQ(c->key, 5u);
    EXPECT_EQ(c->memory, 4);
    EXPECT_FALSE(ahead.take(3, 6)->arrived);
}

TEST(ReadAhead, WhatIsNotWantedAnyMoreMakesRoomWhenItCan) {
    ReadAhead ahead(0, 1);
    ahead.plan(certain({1}), kNever);
    ahead.start();
    ahead.plan(certain({2}), kNever);  // 1 is being read
    EXPECT_FALSE(ahead.start());
    EXPECT_TRUE(ahead.finished(1, true));
    EXPECT_EQ(ahead.start()->key, 2u);
    ahead.plan(certain({3}), kAlways);
    EXPECT_EQ(ahead.start()->key, 3u);
    EXPECT_TRUE(ahead.finished(3, false));
    EXPECT_FALSE(ahead.take(3, 5));
    ahead.plan(certain({4}), kNever);
    ahead.start();
    ahead.finished(4, true);
    ahead.plan({}, kNever);
    EXPECT_FALSE(ahead.take(4, 5));
}

// Against a plain model of memory: who writes where.
RC_GTEST_PROP(ReadAhead, MemoryIsNeverUsedTwice, ()) {
    const int places = *rc::gen::inRange(0, 5), slots = 4;
    ReadAhead ahead(slots, places);
    std::vector<int> slot = {0, 1, 2, 3};  // memory of each
    std::map<ExpertKey, int> reading;
    for (int step = 0; step < 60; ++step) {
        const auto key = *rc::gen::inRange<ExpertKey>(0, 8);
        switch (*rc::gen::inRange(0, 3)) {
            case 0: {
                const auto chosen = *rc::gen::inRange(0u, 256u);
                std::vector<ExpertKey> keys;
                for (ExpertKey i = 0; i < 8; ++i)
                    if (chosen >> i & 1) keys.push_back((i + key) % 8);
                const bool can = *rc::gen::arbitrary<bool>();
                ahead.plan(certain(keys), [&](ExpertKey k) { return can && reading.erase(k) > 0; });
                while (const auto start = ahead.start()) {
                    for (const auto& [other, memory] : reading) RC_ASSERT(memory != start->memory);
                    RC_ASSERT(std::count(slot.begin(), slot.end(), start->memory) == 0);
                    RC_ASSERT(reading.emplace(start->key, start->memory).second);
                }
                break;
            }
            case 1:
                if (reading.count(key)) {
                    RC_ASSERT(ahead.finished(key, true));
                    reading.erase(key);
                } else {
                    RC_ASSERT(!ahead.finished(1000, true));
                }
                break;
            case 2: {
                int& memory = slot[*rc::gen::inRange<std::size_t>(0, slot.size())];
                if (const auto taken = ahead.take(key, memory)) {
                    RC_ASSERT(taken->arrived != (reading.count(key) > 0));
                    if (reading.count(key)) RC_ASSERT(reading.at(key) == taken->memory);
                    reading.erase(key);  // the slot's owner waits for it now
                    RC_ASSERT(std::count(slot.begin(), slot.end(), taken->memory) == 0);
                    memory = taken->memory;
                }
                break;
            }
        }
    }
}

}  // namespace
}  // namespace cachalot
