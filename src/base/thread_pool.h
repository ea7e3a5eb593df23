// A fixed set of threads that run loops together.
//
// Problem: a decode step runs a few hundred short loops, each a few microseconds to a millisecond. Waking a
// thread through the kernel costs 5 to 50 us, so workers spin for a short while before they sleep; spinning
// for ever would burn a core that another process could use. And a thread that has lost its core for a moment
// must not hold up the others: waiting for every worker at the end of every loop makes two threads four times
// slower than one when another process takes a core.
//
// So a loop is over when its items are done, not when all workers have reported. Items are claimed one at a
// time from an atomic word that holds the loop's number and which items are left; a worker that comes late
// finds the number changed or nothing left, and cannot touch a later loop by mistake. Only an item that was
// claimed is waited for.
//
// Half of the threads take items from the front, half from the back. So in loops over the same rows a thread
// has mostly those that it had before, in its own cache; cores of one machine may have none in common. On two
// such cores of Zen 4 nano's prefill went from 5,700 to 7,450 tokens/s, its decode from 1,420 to 1,540
// (Q8_0); on two that share a cache prefill became 5 % faster.
//
// The result of an item may not depend on which thread runs it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/numa.h"

namespace cachalot {

class ThreadPool {
  public:
    // `threads` counts the caller of parallel_for, too; 0 means one per available core. With nodes the
    // workers are bound to the cores of their node (base/numa.h); the caller stays where it is.
    explicit ThreadPool(int threads = 0, std::span<const NumaNode> nodes = {});
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int size() const { return static_cast<int>(workers_.size()) + 1; }
    std::int64_t loops() const { return loops_; }  // loops so far that several threads took part in

    // Calls body(index, thread) for every index in [0, count), thread in [0, size()); returns when all are
    // done. One caller at a time, not from inside a body. The first exception of a body is rethrown here.
    using Body = std::function<void(std::int64_t index, int thread)>;
    void parallel_for(std::int64_t count, const Body& body);

  private:
    void worker(int thread);
    void run_items(std::uint32_t loop, int thread);

    std::vector<std::thread> workers_;

    // Written by the caller before `claim_` announces a loop, stable until its last claimed item is done.
    const Body* body_ = nullptr;
    std::int64_t count_ = 0,
                 unit_ = 1;  // a unit of items is claimed at a time; only of very many it is more than one
    std::uint32_t loop_ = 0;
    std::int64_t loops_ = 0;

    alignas(64) std::atomic<std::uint64_t> claim_{0};  // Claim: what is left
    alignas(64) std::atomic<std::uint32_t> done_{0};   // units of the current loop that are done
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::mutex error_mutex_;
    std::exception_ptr error_;
};

}  // namespace cachalot
