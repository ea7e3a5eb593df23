#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/background.h"
#include "base/error.h"
#include "file/waiting_reads.h"

namespace cachalot {
namespace {

class ThreadQueue final : public ReadQueue {
  public:
    explicit ThreadQueue(int threads) {
        start_threads(threads_, threads, [this](int) { work(); });
        if (threads_.empty()) fail("files cannot be read: {}", kNoMoreThreads);
    }

    ~ThreadQueue() override {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        asked_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    const char* name() const override { return "threads"; }

    void submit(std::span<const QueuedRead> reads) override {
        {
            std::lock_guard lock(mutex_);
            waiting_.add(reads);
            unclaimed_ += reads.size();
        }
        asked_.notify_all();
    }

    bool withdraw(std::uint64_t id, ReadClass urgency) override {
        std::lock_guard lock(mutex_);
        if (!waiting_.withdraw(id, urgency)) return false;
        --unclaimed_;
        return true;
    }

    std::optional<FinishedRead> next(bool wait) override {
        std::unique_lock lock(mutex_);
        if (unclaimed_ == 0) return {};
        if (wait) done_.wait(lock, [&] { return !finished_.empty(); });
        if (finished_.empty()) return {};
        const FinishedRead read = finished_.front();
        finished_.pop_front();
        --unclaimed_;
        return read;
    }

  private:
    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            std::optional<QueuedRead> taken;
            asked_.wait(lock, [&] { return stop_ || (taken = waiting_.take(running_)); });
            if (stop_) return;
            const QueuedRead read = *taken;
            ++running_;
            lock.unlock();
            const auto result = ::pread(read.descriptor, read.to, read.size, static_cast<off_t>(read.offset));
            const FinishedRead finished{read.id, result < 0 ? -std::int64_t(errno) : result};
            lock.lock();
            --running_;  // this thread looks first whether another one may start now
            finished_.push_back(finished);
            done_.notify_one();
        }
    }

    std::mutex mutex_;
    std::condition_variable asked_, done_;
    WaitingReads waiting_;
    std::deque<FinishedRead> finished_;
    std::size_t running_ = 0;
    std::size_t unclaimed_ = 0;  // submitted and not yet returned by next()
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<ReadQueue> make_thread_queue(int threads) { return std::make_unique<ThreadQueue>(threads); }

std::unique_ptr<ReadQueue> make_read_queue(const Log& log) {
    if (auto queue = make_uring_queue({}, log)) return queue;
    return make_thread_queue();
}

}  // namespace cachalot
