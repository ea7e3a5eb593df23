#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
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

// As many threads as the system gives, and the work is done by them.
void expect_to_work(ThreadPool& pool) {
    std::vector<std::atomic<int>> hits(500);
    pool.parallel_for(500, [&](std::int64_t i, int) { hits[static_cast<std::size_t>(i)].fetch_add(1); });
    for (auto& h : hits) ASSERT_EQ(h.load(), 1);
}

// A stack that no machine has room for makes the creation of every thread fail.
TEST(ThreadPool, DoesWithoutThreadsThatCannotBeCreated) {
    pthread_attr_t usual, huge;
    ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
    ASSERT_EQ(pthread_attr_init(&huge), 0);
    ASSERT_EQ(pthread_attr_setstacksize(&huge, std::size_t(1) << 50), 0);
    ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
    for (int threads : {2, 8, 100}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.size(), 1);
        expect_to_work(pool);
    }
    EXPECT_EQ(pthread_setattr_default_np(&usual), 0);
    ThreadPool whole(4);
    EXPECT_EQ(whole.size(), 4);
    expect_to_work(whole);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
// Some fit, the others do not. For a process of its own, since the limit stays.
[[noreturn]] void work_with_little_address_space() {
    std::ifstream pages("/proc/self/statm");
    rlim_t size = 0;
    pages >> size;
    size = size * static_cast<rlim_t>(getpagesize()) + (rlim_t(60) << 20);  // stacks are 8 MB each
    const rlimit limit{size, size};
    setrlimit(RLIMIT_AS, &limit);
    ThreadPool pool(40);
    expect_to_work(pool);
    const bool right = pool.size() > 1 && pool.size() < 40;
    std::_Exit(right && !testing::Test::HasFailure() ? 0 : 1);
}

TEST(ThreadPool, GoesOnWithFewerThreads) {
    EXPECT_EXIT(work_with_little_address_space(), testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace cachalot
