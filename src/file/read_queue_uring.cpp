#include "file/read_queue.h"

#if defined(CACHALOT_URING)

#include <liburing.h>

#include <cerrno>
#include <deque>
#include <system_error>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr unsigned kSubmissions = 256;   // handed to the kernel at a time
constexpr unsigned kCompletions = 4096;  // under way at a time; more wait here

class UringQueue final : public ReadQueue {
  public:
    UringQueue() {
        io_uring_params params = {};
        params.flags = IORING_SETUP_CQSIZE;
        params.cq_entries = kCompletions;
        usable_ = io_uring_queue_init_params(kSubmissions, &ring_, &params) == 0;
    }
    ~UringQueue() override {
        if (usable_) io_uring_queue_exit(&ring_);
    }
    UringQueue(const UringQueue&) = delete;
    UringQueue& operator=(const UringQueue&) = delete;

    bool usable() const { return usable_; }
    const char* name() const override { return "io_uring"; }

    void submit(std::span<const QueuedRead> reads) override {
        waiting_.insert(waiting_.end(), reads.begin(), reads.end());
        start();
    }

    std::optional<FinishedRead> next(bool wait) override {
        if (running_ == 0) return {};
        io_uring_cqe* completion = nullptr;
        int error = 0;
        do error = wait ? io_uring_wait_cqe(&ring_, &completion) : io_uring_peek_cqe(&ring_, &completion);
        while (error == -EINTR);
        if (error == -EAGAIN) return {};
        check(error);
        const FinishedRead read{completion->user_data, completion->res};
        io_uring_cqe_seen(&ring_, completion);
        --running_;
        start();
        return read;
    }

  private:
    void start() {
        while (!waiting_.empty() && running_ < kCompletions) {
            int prepared = 0;
            for (; !waiting_.empty() && running_ < kCompletions; ++prepared) {
                io_uring_sqe* entry = io_uring_get_sqe(&ring_);
                if (!entry) break;
                const QueuedRead& read = waiting_.front();
                io_uring_prep_read(entry, read.descriptor, read.to, static_cast<unsigned>(read.size),
                                   read.offset);
                entry->user_data = read.id;
                waiting_.pop_front();
                ++running_;
            }
            while (prepared > 0) {
                const int taken = io_uring_submit(&ring_);
                if (taken == -EINTR || taken == -EAGAIN || taken == -EBUSY) continue;
                check(taken);
                prepared -= taken;
            }
        }
    }

    static void check(int result) {
        if (result < 0) fail("io_uring: {}", std::generic_category().message(-result));
    }

    io_uring ring_ = {};
    bool usable_ = false;
    std::deque<QueuedRead> waiting_;
    unsigned running_ = 0;
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
