#include "base/thread_pool.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace cachalot {
namespace {

// About 20 us on current machines: longer than the gap between two loops of a step, shorter than a time slice.
constexpr int kSpins = 4000;

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Cores this process may use, which under a container or taskset is fewer than the machine has.
int available_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
    if (threads <= 0) threads = available_cores();
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { worker(t); });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
}

void ThreadPool::parallel_for(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
    if (workers_.empty() || count <= 1) {
        for (std::int64_t i = 0; i < count; ++i) body(i, 0);
        return;
    }
    body_ = &body;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    // A worker counts itself as a sleeper under the lock and then looks at the generation again, so either we see
    // the sleeper or the sleeper sees the new generation.
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
        { std::lock_guard lock(mutex_); }
        wake_.notify_all();
    }
    run_items(0);
    for (int spin = 0; running_.load(std::memory_order_acquire) != 0;) {
        if (++spin < kSpins)
            relax();
        else
            std::this_thread::yield();
    }
    body_ = nullptr;
    if (error_) {
        auto error = std::exchange(error_, nullptr);
        std::rethrow_exception(error);
    }
}

void ThreadPool::run_items(int thread) {
    try {
        for (;;) {
            auto i = next_.fetch_add(1, std::memory_order_relaxed);
            if (i >= count_) return;
            (*body_)(i, thread);
        }
    } catch (...) {
        next_.store(count_, std::memory_order_relaxed);
        std::lock_guard lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
    }
}

void ThreadPool::worker(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
        for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen && !stop_;
             ++spin)
            relax();
        if (generation_.load(std::memory_order_acquire) == seen) {
            std::unique_lock lock(mutex_);
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            wake_.wait(lock, [&] { return generation_.load(std::memory_order_seq_cst) != seen || stop_; });
            sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        }
        if (stop_) return;
        seen = generation_.load(std::memory_order_acquire);
        run_items(thread);
        running_.fetch_sub(1, std::memory_order_acq_rel);
    }
}

}  // namespace cachalot
