#include "server/http/served_queue.h"

#include "base/background.h"
#include "base/error.h"

namespace cachalot::server {

void ServedQueue::start() {
    if (!wanted()) return;
    const std::lock_guard lock(mutex_);
    if (running_) return;
    try {
        thread_ = start_thread("the log of requests", [this] { run(); });
        running_ = true;
    } catch (const Error& e) {
        log_.warn(e.what());
    }
}

void ServedQueue::push(Served served) {
    {
        const std::lock_guard lock(mutex_);
        if (running_ && waiting_.size() < kMost) {
            waiting_.push_back(std::move(served));
            changed_.notify_one();
            return;
        }
    }
    tell(served);
}

void ServedQueue::stop() {
    {
        const std::lock_guard lock(mutex_);
        running_ = false;
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
}

void ServedQueue::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return !running_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        const Served next = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        tell(next);
        lock.lock();
    }
}

// A log that cannot be written must not stop the service.
void ServedQueue::tell(const Served& served) const {
    try {
        tell_(served);
    } catch (const std::exception& e) {
        log_.often(LogLevel::error, "a request is missing in the audit log or in the metrics",
                   {{"request", served.id}, {"error", e.what()}});
    }
}

}  // namespace cachalot::server
