// Reads that are under way while their owner computes.
//
// Two kinds: io_uring, where the kernel works them off, and a pool of threads that call pread, for other systems and for
// where io_uring is forbidden (as in many containers). For reads of megabytes both are as fast as the disk; io_uring
// does without threads that compete with those that compute.
//
// A queue knows nothing of what the bytes are for; block_reader.h makes whole records of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace cachalot {

struct QueuedRead {
    int descriptor = -1;
    std::uint64_t offset = 0;
    std::size_t size = 0;
    std::byte* to = nullptr;  // stays until the read is finished
    std::uint64_t id = 0;     // the owner's
};

struct FinishedRead {
    std::uint64_t id = 0;
    std::int64_t result =
        0;  // bytes, fewer than asked for at the end of the file or for any other reason; or -errno
};

// One thread at a time. All reads must have been taken by next() before a queue is destroyed.
class ReadQueue {
  public:
    virtual ~ReadQueue() = default;
    virtual const char* name() const = 0;

    // Starts reads, in this order as far as the disk allows. Throws Error if the system refuses.
    virtual void submit(std::span<const QueuedRead> reads) = 0;

    // A read that is finished; with `wait` the next one that will be. None if there is none.
    virtual std::optional<FinishedRead> next(bool wait) = 0;
};

// Null where this program was built without io_uring or the kernel refuses it.
std::unique_ptr<ReadQueue> make_uring_queue();
std::unique_ptr<ReadQueue> make_thread_queue(int threads = 8);
// The best that there is.
std::unique_ptr<ReadQueue> make_read_queue();

}  // namespace cachalot
