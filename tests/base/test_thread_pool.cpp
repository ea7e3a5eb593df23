#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"

namespace cachalot {
namespace {

TEST(ThreadPool, RunsEveryItemExactlyOnce) {
    for (int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.size(), threads);
        for (int round = 0; round < 2000; ++round) {
            std::vector<std::atomic<int>> hits(static_cast<std::size_t>(round % 37));
            pool.parallel_for(static_cast<std::int64_t>(hits.size()), [&](std::int64_t i, int thread) {
                ASSERT_TRUE(thread >= 0 && thread < threads);
                hits[static_cast<std::size_t>(i)].fetch_add(1);
            });
            for (auto& h : hits) ASSERT_EQ(h.load(), 1);
        }
    }
}

TEST(ThreadPool, RunsVeryManyItemsExactlyOnce) {
    ThreadPool pool(3);
    for (std::size_t count : {65'535u, 65'536u, 200'001u}) {
        std::vector<std::atomic<int>> hits(count);
        pool.parallel_for(static_cast<std::int64_t>(count),
                          [&](std::int64_t i, int) { hits[static_cast<std::size_t>(i)].fetch_add(1); });
        for (auto& h : hits) ASSERT_EQ(h.load(), 1);
    }
}

TEST(ThreadPool, ThreadsTakeItemsFromEitherEnd) {
    ThreadPool pool(2);
    for (int round = 0; round < 50; ++round) {
        std::atomic<std::int64_t> first_of_other{-1};
        pool.parallel_for(100, [&](std::int64_t i, int thread) {
            std::int64_t none = -1;
            if (thread == 1) first_of_other.compare_exchange_strong(none, i);
            while (i == 0 && first_of_other < 0) std::this_thread::yield();
        });
        EXPECT_EQ(first_of_other, 99);
    }
}

TEST(ThreadPool, WhatABodyWroteIsVisibleAfterwards) {
    ThreadPool pool(4);
    std::vector<int> values(1000);
    for (int round = 0; round < 300; ++round) {
        pool.parallel_for(
            1000, [&](std::int64_t i, int) { values[static_cast<std::size_t>(i)] += static_cast<int>(i); });
        ASSERT_EQ(std::accumulate(values.begin(), values.end(), 0LL), 499500LL * (round + 1));
    }
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
    ThreadPool pool(3);
    for (int round = 0; round < 20; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than workers spin
        std::atomic<int> sum{0};
        pool.parallel_for(10, [&](std::int64_t i, int) { sum += static_cast<int>(i); });
        EXPECT_EQ(sum, 45);
    }
}

TEST(ThreadPool, AnExceptionReachesTheCallerAndThePoolGoesOn) {
    ThreadPool pool(3);
    for (int round = 0; round < 50; ++round) {
        EXPECT_THROW(pool.parallel_for(100,
                                       [](std::int64_t i, int) {
                                           if (i == 57) fail("item {}", i);
                                       }),
                     Error);
        std::atomic<int> count{0};
        pool.parallel_for(100, [&](std::int64_t, int) { ++count; });
        EXPECT_EQ(count, 100);
    }
}

}  // namespace
}  // namespace cachalot
