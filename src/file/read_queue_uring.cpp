#include "file/read_queue.h"

#if defined(CACHALOT_URING)

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/background.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "file/waiting_reads.h"

namespace cachalot {
namespace {

constexpr unsigned kSubmissions = 256;            // handed to the kernel at a time
constexpr unsigned kCompletions = 4096;           // under way at a time; more wait here
constexpr std::chrono::milliseconds kRefused{1};  // until the kernel is asked again that had no memory

// The kernel works the reads off; a thread waits for it and starts those whose turn has come. Only that
// thread touches the ring's completions; its submissions belong to whoever holds the lock. Nobody waits for
// the kernel while he holds it: what it does not take now stays prepared in the ring, until something
// finishes or next() waits.
class UringQueue final : public ReadQueue {
  public:
    UringQueue(UringSubmit submit, const Log& log) : submit_(std::move(submit)), log_(log) {
        io_uring_params params = {};
        params.flags = IORING_SETUP_CQSIZE;
        params.cq_entries = kCompletions;
        if (const int result = io_uring_queue_init_params(kSubmissions, &ring_, &params); result != 0) {
            unusable(std::generic_category().message(-result));
            return;
        }
        stop_.reset(::eventfd(0, EFD_CLOEXEC));
        if (!stop_) unusable(std::generic_category().message(errno));
        try {
            if (stop_) reaper_ = start_thread("reading files", [this] { reap(); });
        } catch (const Error& e) {
            unusable(e.what());
        }
        usable_ = reaper_.joinable();
        if (!usable_) io_uring_queue_exit(&ring_);
    }
    ~UringQueue() override {
        if (!usable_) return;
        {  // after an error there may be reads that nobody has taken, but the kernel still writes for
            std::unique_lock lock(mutex_);
            done_.wait(lock, [&] { return running_ == prepared_ || reaper_failed_; });
        }
        const std::uint64_t one = 1;
        while (::write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) {
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
        check();
        waiting_.add(reads);
        unclaimed_ += reads.size();
        start();
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
        auto news = [&] { return !finished_.empty() || error_ != 0; };
        while (true) {
            if (prepared_ > 0) start();
            if (news() || !wait) break;
            if (prepared_ > 0)
                done_.wait_for(lock, kRefused, news);
            else
                done_.wait(lock, news);
        }
        if (finished_.empty()) {
            check();
            return {};
        }
        const FinishedRead read = finished_.front();
        finished_.pop_front();
        --unclaimed_;
        return read;
    }

  private:
    // There is another kind of queue.
    void unusable(const std::string& why) const {
        log_.info("io_uring cannot be used; threads read files instead", {{"error", why}});
    }

    void reap() {
        while (true) {
            pollfd events[] = {{ring_.ring_fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
            const bool failed = ::poll(events, 2, -1) < 0 && errno != EINTR;
            const int error = failed ? -errno : 0;
            std::lock_guard lock(mutex_);
            if (failed) {
                reaper_failed_ = true;
                return give_up(error);
            }
            if (events[1].revents) return;
            io_uring_cqe* completion = nullptr;
            bool any = false;
            for (; io_uring_peek_cqe(&ring_, &completion) == 0; any = true) {
                finished_.push_back({completion->user_data, completion->res});
                io_uring_cqe_seen(&ring_, completion);
                --running_;
            }
            if (!any) continue;
            start();
            done_.notify_all();
        }
    }

    // Hands over what may be under way, as far as the kernel takes it.
    void start() {
        while (error_ == 0 && running_ < kCompletions) {
            if (io_uring_sq_space_left(&ring_) == 0 && !push()) return;
            const auto read = waiting_.take(running_);
            if (!read) break;
            io_uring_sqe* entry = io_uring_get_sqe(&ring_);
            io_uring_prep_read(entry, read->descriptor, read->to, static_cast<unsigned>(read->size),
                               read->offset);
            entry->user_data = read->id;
            ++prepared_;
            ++running_;
        }
        push();
    }

    // Whether the kernel has taken all that is prepared.
    bool push() {
        while (prepared_ > 0 && error_ == 0) {
            const std::function<int()> real = [&] { return io_uring_submit(&ring_); };
            const int taken = submit_ ? submit_(real) : real();
            if (taken == -EINTR) continue;
            if (taken == -EAGAIN || taken == -EBUSY || taken == 0) return false;
            if (taken < 0)
                give_up(taken);
            else
                prepared_ -= static_cast<unsigned>(taken);
        }
        return prepared_ == 0;
    }

    void give_up(int error) {
        log_.error("io_uring does not work any more; nothing can be read through it",
                   {{"error", std::generic_category().message(-error)}});
        error_ = error;
        done_.notify_all();
    }
    void check() const {
        if (error_ < 0) fail("io_uring: {}", std::generic_category().message(-error_));
    }

    const UringSubmit submit_;
    const Log log_;
    io_uring ring_ = {};
    UniqueFd stop_;  // told when the thread shall end
    bool usable_ = false, reaper_failed_ = false;
    std::mutex mutex_;
    std::condition_variable done_;
    WaitingReads waiting_;
    std::deque<FinishedRead> finished_;
    unsigned running_ = 0;       // in the ring
    unsigned prepared_ = 0;      // those of them that the kernel has not taken
    std::size_t unclaimed_ = 0;  // submitted and not yet returned by next()
    int error_ = 0;              // of the ring itself: nothing new works any more
    std::thread reaper_;
};

}  // namespace

std::unique_ptr<ReadQueue> make_uring_queue(UringSubmit submit, const Log& log) {
    auto queue = std::make_unique<UringQueue>(std::move(submit), log);
    if (!queue->usable()) return nullptr;
    return queue;
}

}  // namespace cachalot

#else

namespace cachalot {

std::unique_ptr<ReadQueue> make_uring_queue(UringSubmit, const Log& log) {
    log.debug("built without io_uring; threads read files instead");
    return nullptr;
}

}  // namespace cachalot

#endif
