// A fixed set of threads that run loops together.
//
// Problem: a decode step runs a few hundred short loops, each a few microseconds to a millisecond. Waking a thread
// through the kernel costs 5 to 50 us, so workers spin for a short while before they sleep; spinning for ever would
// burn a core that another process could use and slow the thread that holds the work.
//
// `parallel_for` hands out indices dynamically from one atomic counter, so a thread that lost its core delays only
// the item it holds. The result of an item may not depend on which thread runs it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cachalot {

class ThreadPool {
  public:
    // `threads` counts the caller of parallel_for, too; 0 means one per available core.
    explicit ThreadPool(int threads = 0);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int size() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls body(index, thread) for every index in [0, count), thread in [0, size()); returns when all are done.
    // One caller at a time, not from inside a body. The first exception of a body is rethrown here.
    void parallel_for(std::int64_t count, const std::function<void(std::int64_t index, int thread)>& body);

    // The number of parallel_for calls that involved more than one thread: the synchronisations paid so far.
    std::uint64_t synchronisations() const { return generation_.load(std::memory_order_relaxed); }

  private:
    void worker(int thread);
    void run_items(int thread);

    std::vector<std::thread> workers_;
    const std::function<void(std::int64_t, int)>* body_ = nullptr;
    std::int64_t count_ = 0;
    std::atomic<std::int64_t> next_{0};
    std::atomic<int> running_{0};               // workers that have not finished the current loop
    std::atomic<std::uint64_t> generation_{0};  // one more for each loop
    std::atomic<int> sleepers_{0};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

}  // namespace cachalot
