#include "base/background_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <numeric>

namespace cachalot {
namespace {

TEST(BackgroundQueue, PerformsInOrderAndToTheEnd) {
    std::vector<int> done, expected(100);
    std::iota(expected.begin(), expected.end(), 0);
    {
        BackgroundQueue<int> queue("a test", [&](int job) { done.push_back(job); });
        for (int i = 0; i < 50; ++i) queue.push(i);
        queue.flush();
        EXPECT_EQ(done.size(), 50u);
        for (int i = 50; i < 100; ++i) queue.push(i);
    }
    EXPECT_EQ(done, expected);
}

TEST(BackgroundQueue, JobsOfManyThreadsAreAllDone) {
    std::int64_t sum = 0;  // the queue's thread alone adds
    {
        BackgroundQueue<int> queue("a test", [&](int job) { sum += job; });
        std::vector<std::thread> threads;
        start_threads(threads, 4, [&](int) {
            for (int i = 1; i <= 1000; ++i) queue.push(i, i);
        });
        for (auto& thread : threads) thread.join();
    }
    EXPECT_EQ(sum, 4 * 500'500);
}

// A job is under way, and others wait, until end() is called.
class Held {
  public:
    explicit Held(std::int64_t bytes) : queue_("a test", [this](int job) { perform(job); }) {
        queue_.push(0, bytes);
        begun_.get_future().wait();
    }
    ~Held() { end(); }
    void end() {
        if (!ended_.exchange(true)) end_.set_value();
    }
    BackgroundQueue<int>& queue() { return queue_; }
    std::vector<int> done;

  private:
    void perform(int job) {
        if (job == 0) {
            begun_.set_value();
            end_.get_future().wait();
        }
        done.push_back(job);
    }
    std::promise<void> begun_, end_;
    std::atomic<bool> ended_ = false;
    BackgroundQueue<int> queue_;
};

TEST(BackgroundQueue, OfWhatIsTooMuchOnlyTheFirstIsTaken) {
    Held held(30);
    EXPECT_TRUE(held.queue().push(1, 70, 100));
    EXPECT_FALSE(held.queue().fits(1, 100));
    EXPECT_FALSE(held.queue().push(2, 1, 100));
    EXPECT_TRUE(held.queue().push(3, 0, 100));
    held.end();
    held.queue().flush();
    EXPECT_EQ(held.done, (std::vector{0, 1, 3}));
    EXPECT_TRUE(held.queue().push(4, 101, 100)) << "nothing waits";
    held.queue().flush();
    EXPECT_EQ(held.done.back(), 4);
}

TEST(BackgroundQueue, JobsThatHaveNotBegunCanBeTakenBack) {
    for (std::int64_t bytes : {0, 10}) {
        Held held(bytes);
        held.queue().push(1, 5);
        held.queue().push(2);
        held.queue().push(3, 7);
        auto withdrawn = std::async(std::launch::async, [&] { return held.queue().withdraw(); });
        if (bytes > 0) {  // it waits for the one that has begun
            EXPECT_EQ(withdrawn.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
            held.end();
        }
        EXPECT_EQ(withdrawn.get(), (std::vector{1, 3}));
        held.end();
        held.queue().flush();
        EXPECT_EQ(held.done, (std::vector{0, 2}));
        EXPECT_FALSE(held.queue().withdraw());
    }
}

}  // namespace
}  // namespace cachalot
