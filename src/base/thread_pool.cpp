#include "base/thread_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/available_cores.h"
#include "base/background.h"
#include "base/error.h"

namespace cachalot {
namespace {

// Some tens of microseconds on current machines: longer than the gap between two loops of a step, shorter
// than a time slice.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A loop's number and the units [first, last) of it that are left.
struct Claim {
    std::uint32_t loop;
    std::uint16_t first, last;

    static constexpr std::int64_t kMostUnits = std::numeric_limits<std::uint16_t>::max();
    constexpr explicit Claim(std::uint64_t word)
        : loop(static_cast<std::uint32_t>(word >> 32)),
          first(static_cast<std::uint16_t>(word >> 16)),
          last(static_cast<std::uint16_t>(word)) {}
    constexpr Claim(std::uint32_t number, std::int64_t units)
        : loop(number), first(0), last(static_cast<std::uint16_t>(units)) {}
    constexpr std::uint64_t word() const {
        return std::uint64_t(loop) << 32 | std::uint64_t(first) << 16 | last;
    }
};

}  // namespace

ThreadPool::ThreadPool(int threads, std::span<const NumaNode> nodes) {
    if (threads <= 0) threads = available_cores();
    const auto node_of = spread_threads(nodes, threads);
    std::vector<std::vector<int>> cores(static_cast<std::size_t>(threads));
    for (std::size_t t = 1; t < node_of.size(); ++t) cores[t] = nodes[node_of[t]].cores;
    start_threads(workers_, threads - 1, [this, cores](int i) {
        const auto& own = cores[static_cast<std::size_t>(i) + 1];
        if (!own.empty()) bind_thread(own);
        worker(i + 1);
    });
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
}

void ThreadPool::parallel_for(std::int64_t count, const Body& body) {
    if (workers_.empty() || count <= 1) {
        for (std::int64_t i = 0; i < count; ++i) body(i, 0);
        return;
    }
    ++loops_;
    body_ = &body;
    count_ = count;
    unit_ = (count + Claim::kMostUnits - 1) / Claim::kMostUnits;
    const Claim all(++loop_, (count + unit_ - 1) / unit_);
    done_.store(0, std::memory_order_relaxed);
    claim_.store(all.word(), std::memory_order_seq_cst);
    // A worker counts itself as a sleeper under the lock and then looks at the word again, so either we see
    // the sleeper or the sleeper sees the new loop.
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
        { std::lock_guard lock(mutex_); }
        wake_.notify_all();
    }
    run_items(loop_, 0);
    for (int spin = 0; done_.load(std::memory_order_acquire) != all.last; ++spin) {
        if (spin < kSpins)
            relax();
        else
            std::this_thread::yield();
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::run_items(std::uint32_t loop, int thread) {
    const bool from_front = 2 * thread < size();
    std::uint32_t finished = 0;
    auto word = claim_.load(std::memory_order_acquire);
    while (true) {
        Claim left(word);
        if (left.loop != loop || left.first == left.last) break;
        const std::int64_t unit = from_front ? left.first++ : --left.last;
        if (!claim_.compare_exchange_weak(word, left.word(), std::memory_order_acq_rel,
                                          std::memory_order_acquire))
            continue;
        // The claim succeeded, so this loop is not over and body_, count_ and unit_ are its own.
        try {
            for (std::int64_t i = unit * unit_; i < std::min((unit + 1) * unit_, count_); ++i)
                (*body_)(i, thread);
        } catch (...) {
            std::lock_guard lock(error_mutex_);
            if (!error_) error_ = std::current_exception();
        }
        ++finished;
        word = claim_.load(std::memory_order_acquire);
    }
    // Told once: where threads do not share a cache, each touch of a shared line takes as long as a miss.
    if (finished > 0) done_.fetch_add(finished, std::memory_order_acq_rel);
}

void ThreadPool::worker(int thread) {
    auto current = [&](std::memory_order order) { return Claim(claim_.load(order)).loop; };
    std::uint32_t seen = 0;
    while (!stop_) {
        for (int spin = 0; spin < kSpins && current(std::memory_order_acquire) == seen && !stop_; ++spin)
            relax();
        if (current(std::memory_order_acquire) == seen) {
            std::unique_lock lock(mutex_);
            sleepers_.fetch_add(1, std::memory_order_seq_cst);
            wake_.wait(lock, [&] { return current(std::memory_order_seq_cst) != seen || stop_; });
            sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        }
        seen = current(std::memory_order_acquire);
        run_items(seen, thread);
    }
}

}  // namespace cachalot
