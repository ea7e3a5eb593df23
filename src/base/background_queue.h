// Work that nobody waits for, such as writing to a disk: jobs that a thread performs in the order in which
// they came.
//
// What waits holds memory, so a job may have a size in bytes, and there may be a limit for all of them
// together.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/background.h"

namespace cachalot {

template <class Job>
class BackgroundQueue {
  public:
    // `perform` is called on the queue's thread and may not throw. Throws Error, which names the purpose, if
    // there can be no thread.
    BackgroundQueue(std::string_view purpose, std::function<void(const Job&)> perform)
        : perform_(std::move(perform)), thread_(start_thread(purpose, [this] { work(); })) {}

    ~BackgroundQueue() {  // when all that waits is done
        {
            std::lock_guard lock(mutex_);
            quit_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    BackgroundQueue(const BackgroundQueue&) = delete;
    BackgroundQueue& operator=(const BackgroundQueue&) = delete;

    // Any thread may call these.

    // Whether a job of so many bytes may be added: alone it may be as large as it likes.
    bool fits(std::int64_t bytes, std::int64_t limit) const {
        std::lock_guard lock(mutex_);
        return fits_now(bytes, limit);
    }

    // False, and the job is gone, if it does not fit.
    bool push(Job job, std::int64_t bytes = 0,
              std::int64_t limit = std::numeric_limits<std::int64_t>::max()) {
        {
            std::lock_guard lock(mutex_);
            if (!fits_now(bytes, limit)) return false;
            bytes_ += bytes;
            jobs_.push_back({std::move(job), bytes});
        }
        changed_.notify_all();
        return true;
    }

    void flush() {  // returns when nothing waits
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return jobs_.empty(); });
    }

    // Takes back the jobs that have a size and have not begun, and waits for the running job if it has one.
    // Nothing if no job with a size was there.
    std::optional<std::vector<Job>> withdraw() {
        std::unique_lock lock(mutex_);
        if (bytes_ == 0) return {};
        std::vector<Job> taken;
        for (auto job = std::next(jobs_.begin()); job != jobs_.end();) {
            if (job->bytes == 0) {
                ++job;
                continue;
            }
            bytes_ -= job->bytes;
            taken.push_back(std::move(job->job));
            job = jobs_.erase(job);
        }
        changed_.wait(lock, [&] { return bytes_ == 0; });
        return taken;
    }

  private:
    struct Waiting {
        Job job;
        std::int64_t bytes;
    };

    bool fits_now(std::int64_t bytes, std::int64_t limit) const {
        return bytes_ == 0 || bytes_ + bytes <= limit;
    }

    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [&] { return quit_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            const Job& job = jobs_.front().job;  // stays where it is: others are added behind it
            lock.unlock();
            perform_(job);
            lock.lock();
            bytes_ -= jobs_.front().bytes;
            jobs_.pop_front();
            changed_.notify_all();
        }
    }

    const std::function<void(const Job&)> perform_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Waiting> jobs_;  // the first has begun, or is about to
    std::int64_t bytes_ = 0;   // of all of them
    bool quit_ = false;
    std::thread thread_;  // last: it uses the rest
};

}  // namespace cachalot
