#include "base/background.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "support/refused_threads.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Background, ThreadsThatCannotBeHadAreAnError) {
    const test::RefusedThreads none;
    EXPECT_THAT([] { start_thread("a test", [] {}); },
                ThrowsMessage<Error>(HasSubstr("cannot start a thread for a test: ")));
    std::vector<std::thread> threads;
    EXPECT_EQ(start_threads(threads, 3, [](int) {}), 3);
    EXPECT_TRUE(threads.empty());
}

TEST(Background, FewerThreadsAreEnough) {
    std::vector<std::thread> threads;
    EXPECT_EQ(start_threads(threads, 2, [](int) {}), 0);
    {
        const test::RefusedThreads none;
        EXPECT_EQ(start_threads(threads, 3, [](int) {}), 3);
    }
    EXPECT_EQ(threads.size(), 2u);
    EXPECT_EQ(start_threads(threads, 1, [](int) {}), 0);
    for (auto& thread : threads) thread.join();
}

#ifdef __linux__
TEST(Background, OnlyTheThreadItselfGivesWay) {
    const auto nice_of = [] { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); };
    const int usual = nice_of();
    int lowered = usual;
    start_thread("a test", [&] {
        lower_thread_priority(10);
        lowered = nice_of();
    }).join();
    EXPECT_EQ(lowered, std::min(19, usual + 10));
    EXPECT_EQ(nice_of(), usual);
}
#endif

}  // namespace
}  // namespace cachalot
