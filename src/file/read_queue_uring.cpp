#include "file/read_queue.h"

#if defined(CACHALOT_URING)

#include <liburing.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "file/waiting_reads.h"

namespace cachalot {
namespace {

constexpr unsigned kSubmissions = 256;   // handed to the kernel at a time
constexpr unsigned kCompletions = 4096;  // under way at a time; more wait here
constexpr std::uint64_t kStop = ~std::uint64_t(0);

// The kernel works the reads off; a thread waits for it and starts those whose turn has come. Only that thread touches
// the ring's completions; its submissions belong to whoever holds the lock.
class UringQueue final : public ReadQueue {
  public:
    UringQueue() {
        io_uring_params params = {};
        params.flags = IORING_SETUP_CQSIZE;
        params.cq_entries = kCompletions;
        usable_ = io_uring_queue_init_params(kSubmissions, &ring_, &params) == 0;
        if (usable_) reaper_ = std::thread([this] { reap(); });
    }
    ~UringQueue() override {
        if (!usable_) return;
        {
            std::lock_guard lock(mutex_);
            if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) {
                io_uring_prep_nop(entry);
                entry->user_data = kStop;
                push(1);
            }
        }
        reaper_.join();
        io_uring_queue_exit(&ring_);
    }
    UringQueue(const UringQueue&) = delete;
    UringQueue& operator=(const UringQueue&) = delete;

    bool usable() const { return usable_; }
    const char* name() const override { return "io_uring"; }

    void submit(std::span<const QueuedRead> reads) override {
        std::lock_guard lock(mutex_);
        waiting_.add(reads);
        unclaimed_ += reads.size();
        start();
        check();
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
        if (wait) done_.wait(lock, [&] { return !finished_.empty() || error_ != 0; });
        check();
        if (finished_.empty()) return {};
        const FinishedRead read = finished_.front();
        finished_.pop_front();
        --unclaimed_;
        return read;
    }

  private:
    void reap() {
        while (true) {
            io_uring_cqe* completion = nullptr;
            const int error = io_uring_wait_cqe(&ring_, &completion);
            if (error == -EINTR || error == -EAGAIN) continue;
            std::lock_guard lock(mutex_);
            if (error < 0) return give_up(error);
            const FinishedRead read{completion->user_data, completion->res};
            io_uring_cqe_seen(&ring_, completion);
            if (read.id == kStop) return;
            --running_;
            finished_.push_back(read);
            start();
            done_.notify_one();
        }
    }

    void start() {
        int prepared = 0;
        while (running_ < kCompletions) {
            const auto read = waiting_.take(running_);
            if (!read) break;
            io_uring_sqe* entry = io_uring_get_sqe(&ring_);
            if (!entry) {  // all are filled in
                push(std::exchange(prepared, 0));
                entry = io_uring_get_sqe(&ring_);
            }
            if (!entry) return give_up(-EBUSY);
            io_uring_prep_read(entry, read->descriptor, read->to, static_cast<unsigned>(read->size),
                               read->offset);
            entry->user_data = read->id;
            ++prepared;
            ++running_;
        }
        push(prepared);
    }

    void push(int prepared) {
        while (prepared > 0) {
            const int taken = io_uring_submit(&ring_);
            if (taken == -EINTR || taken == -EAGAIN || taken == -EBUSY) continue;
            if (taken < 0) return give_up(taken);
            prepared -= taken;
        }
    }

    void give_up(int error) {
        error_ = error;
        done_.notify_one();
    }
    void check() const {
        if (error_ < 0) fail("io_uring: {}", std::generic_category().message(-error_));
    }

    io_uring ring_ = {};
    bool usable_ = false;
    std::mutex mutex_;
    std::condition_variable done_;
    WaitingReads waiting_;
    std::deque<FinishedRead> finished_;
    unsigned running_ = 0;
    std::size_t unclaimed_ = 0;  // submitted and not yet returned by next()
    int error_ = 0;              // of the ring itself: nothing works any more
    std::thread reaper_;
};

}  // namespace

std::unique_ptr<ReadQueue> make_uring_queue() {
    auto queue = std::make_unique<UringQueue>();
    if (!queue->usable()) return nullptr;
    return queue;
}

}  // namespace cachalot

#else

namespace cachalot {

std::unique_ptr<ReadQueue> make_uring_queue() { return nullptr; }

}  // namespace cachalot

#endif
