#include "experts/row_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kRowBytes = 20, kMany = 1 << 20;

// Bytes that no other row has.
std::vector<std::byte> bytes_of(std::uint64_t row) {
    std::vector<std::byte> bytes(kRowBytes, std::byte(row * 7));
    std::memcpy(bytes.data(), &row, sizeof row);
    return bytes;
}

bool is_row(const std::byte* bytes, std::uint64_t row) {
    return std::memcmp(bytes, bytes_of(row).data(), kRowBytes) == 0;
}

// As the store does: false if the row had to be read.
bool use(RowCache& cache, std::uint64_t row) {
    if (cache.find(row)) return true;
    cache.offer(row, bytes_of(row).data());
    return false;
}

RC_GTEST_PROP(RowCache, GivesBackWhatItWasGivenAndKeepsToItsBudget, ()) {
    const auto rows = *rc::gen::inRange<std::uint64_t>(1, 100);
    const auto spare = *rc::gen::inRange<std::uint64_t>(0, kRowBytes);
    const std::uint64_t budget = RowCache::bytes_for(rows, kRowBytes) + spare;
    RowCache cache(budget, kRowBytes, kMany);
    RC_ASSERT(cache.bytes() <= budget);
    RC_ASSERT(cache.capacity() <= rows);
    RC_ASSERT(cache.capacity() + 8 > rows);
    const auto range = *rc::gen::inRange<std::uint64_t>(1, 4 * rows + 2);
    const auto sequence =
        *rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange<std::uint64_t>(0, range));
    std::uint64_t before = 0;
    for (const auto row : sequence) {
        if (const std::byte* found = cache.find(row)) {
            RC_ASSERT(is_row(found, row));
        } else {
            cache.offer(row, bytes_of(row).data());
            if (const std::byte* taken = cache.find(row)) RC_ASSERT(is_row(taken, row));
        }
        RC_ASSERT(cache.residents() <= cache.capacity());
        RC_ASSERT(cache.residents() >= before);
        before = cache.residents();
    }
    std::uint64_t there = 0;
    for (std::uint64_t row = 0; row < range; ++row)
        if (const std::byte* found = cache.find(row)) {
            RC_ASSERT(is_row(found, row));
            ++there;
        }
    RC_ASSERT(there == cache.residents());
}

TEST(RowCache, OneRowIsEnoughAndLessIsRefused) {
    const std::uint64_t least = RowCache::bytes_for(1, kRowBytes);
    RowCache cache(least, kRowBytes, kMany);
    EXPECT_EQ(cache.capacity(), 1u);
    EXPECT_FALSE(use(cache, 7));
    EXPECT_TRUE(use(cache, 7));
    EXPECT_THROW(RowCache(least - 1, kRowBytes, kMany), Error);
    EXPECT_THROW(RowCache(0, kRowBytes, kMany), Error);
    EXPECT_EQ(RowCache(1 << 20, kRowBytes, 48).capacity(), 48u);  // there are no more rows
}

// A prompt of rows that never come again does not push out those that every text uses.
TEST(RowCache, WhatIsUsedOftenSurvivesWhatIsUsedOnce) {
    RowCache cache(RowCache::bytes_for(800, kRowBytes), kRowBytes, kMany);
    for (int round = 0; round < 5; ++round)
        for (std::uint64_t row = 0; row < 300; ++row) use(cache, row);
    for (std::uint64_t row = 1000; row < 4000; ++row) use(cache, row);
    int there = 0;
    for (std::uint64_t row = 0; row < 300; ++row) there += cache.find(row) != nullptr;
    EXPECT_GT(there, 290);
}

// Nor does what was used often stay for ever: its count is halved as time goes on.
TEST(RowCache, WhatWasPopularOnceIsForgotten) {
    RowCache cache(RowCache::bytes_for(80, kRowBytes), kRowBytes, kMany);
    for (int round = 0; round < 15; ++round)
        for (std::uint64_t row = 0; row < 80; ++row) use(cache, row);
    for (int round = 0; round < 60; ++round)
        for (std::uint64_t row = 1000; row < 1080; ++row) use(cache, row);
    int old = 0, now = 0;
    for (std::uint64_t row = 0; row < 80; ++row) old += cache.find(row) != nullptr;
    for (std::uint64_t row = 1000; row < 1080; ++row) now += cache.find(row) != nullptr;
    EXPECT_LT(old, 10);
    EXPECT_GT(now, 50);
}

TEST(FrequencySketch, CountsAtLeastWhatWasCounted) {
    FrequencySketch sketch(1000);
    auto hash = [](std::uint64_t key) { return (key + 1) * 0x9e37'79b9'7f4a'7c15; };
    int exact = 0;
    for (std::uint64_t key = 0; key < 500; ++key)
        for (std::uint64_t i = 0; i < key % 20; ++i) sketch.count(hash(key));
    for (std::uint64_t key = 0; key < 500; ++key) {
        const int uses = std::min<int>(static_cast<int>(key % 20), FrequencySketch::kMost);
        EXPECT_GE(sketch.uses(hash(key)), uses);
        exact += sketch.uses(hash(key)) == uses;
    }
    EXPECT_GT(exact, 450);
}

}  // namespace
}  // namespace cachalot
