#include "server/http/request_workers.h"

#include <algorithm>

#include "base/background.h"
#include "base/error.h"

namespace cachalot::server {

void RequestWorkers::start() {
    {
        std::lock_guard lock(mutex_);
        running_ = true;
    }
    // With one thread for all there is none for small bodies.
    for (int i = 0; i < wanted_; ++i) {
        const bool small_only = i == 1;
        const int missing = start_threads(threads_, 1, [this, small_only](int) {
            lower_thread_priority(small_only ? 10 : 19);
            run(small_only);
        });
        if (missing > 0) break;
    }
    if (threads_.empty()) fail("requests cannot be read: {}", kNoMoreThreads);
}

bool RequestWorkers::post(std::size_t bytes, std::function<void()> work) {
    {
        std::lock_guard lock(mutex_);
        if (!running_ || waiting_.size() >= limit_) return false;
        waiting_.push_back({bytes, std::move(work)});
    }
    changed_.notify_all();  // one thread might be of the wrong kind
    return true;
}

void RequestWorkers::stop() {
    std::list<Job> dropped;
    {
        std::lock_guard lock(mutex_);
        running_ = false;
        dropped.swap(waiting_);
    }
    changed_.notify_all();
    dropped.clear();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
}

std::list<RequestWorkers::Job>::iterator RequestWorkers::choose_locked(bool small_only, bool smallest) {
    const auto fits = [&](const Job& job) { return !small_only || job.bytes <= kSmall; };
    auto best = std::find_if(waiting_.begin(), waiting_.end(), fits);
    if (!smallest || best == waiting_.end()) return best;
    for (auto job = best; job != waiting_.end(); ++job)
        if (job->bytes < best->bytes) best = job;
    return best;
}

void RequestWorkers::run(bool small_only) {
    bool smallest = true;
    std::unique_lock lock(mutex_);
    while (true) {
        auto next = waiting_.end();
        changed_.wait(lock, [&] {
            next = choose_locked(small_only, smallest);
            return !running_ || next != waiting_.end();
        });
        if (!running_) return;
        std::function<void()> work = std::move(next->work);
        waiting_.erase(next);
        smallest = !smallest;
        lock.unlock();
        try {
            work();
        } catch (...) {
            // Out of memory, or a mistake of ours: this request ends, the others go on.
            log_.often(LogLevel::error, "a request could not be read", {{"error", cause_of()}});
        }
        work = nullptr;  // and what it holds, before the lock is taken
        lock.lock();
    }
}

}  // namespace cachalot::server
