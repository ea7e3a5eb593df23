// Reads that are under way while their owner computes.
//
// Two kinds: io_uring, where the kernel works them off, and a pool of threads that call pread, for other
// systems and for where io_uring is forbidden (as in many containers). For reads of megabytes both are as
// fast as the disk; io_uring does without threads that compete with those that compute.
//
// Not all reads are equally urgent, and what was handed to a disk cannot be called back. So reads that
// somebody waits for are started at once, and others are kept here and started, in the order of their
// classes, while few are under way (waiting_reads.h): a demand then finds at most a few megabytes before it,
// whatever is planned. A thread of the queue starts them as others finish, so that the disk is busy while the
// owner computes.
//
// A queue knows nothing of what the bytes are for; block_reader.h makes whole records of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/log.h"

namespace cachalot {

// Most urgent first.
enum class ReadClass : std::uint8_t {
    demand,   // somebody waits
    certain,  // somebody will
    likely,   // somebody may
    idle,     // when the disk has nothing else to do
};
inline constexpr std::size_t kReadClasses = 4;

struct QueuedRead {
    int descriptor = -1;
    std::uint64_t offset = 0;
    std::size_t size = 0;
    std::byte* to = nullptr;  // stays until the read is finished
    std::uint64_t id = 0;     // the owner's; no two at the same time have the same
    ReadClass urgency = ReadClass::demand;
};

struct FinishedRead {
    std::uint64_t id = 0;
    std::int64_t result =
        0;  // bytes, fewer than asked for at the end of the file or for any other reason; or -errno
};

// One thread at a time. All reads must have been taken by next() or withdrawn before a queue is destroyed.
class ReadQueue {
  public:
    virtual ~ReadQueue() = default;
    virtual const char* name() const = 0;

    // Starts reads, or plans to: those of a class in this order as far as the disk allows. If it throws
    // (Error if the system refuses), nothing of them has begun or will.
    virtual void submit(std::span<const QueuedRead> reads) = 0;

    // Takes a read back that has not begun; next() will not return it then. False if it is too late.
    virtual bool withdraw(std::uint64_t id, ReadClass urgency) = 0;

    // A read that is finished; with `wait` the next one that will be. None if there is none. Throws Error if
    // none will ever be, because the system refuses.
    virtual std::optional<FinishedRead> next(bool wait) = 0;
};

// Null where this program was built without io_uring or the kernel refuses it, or the thread that it takes.
// `submit` is called with the call that hands reads to the kernel, and returns in its place, so that tests
// can let it fail.
using UringSubmit = std::function<int(const std::function<int()>& real)>;
std::unique_ptr<ReadQueue> make_uring_queue(UringSubmit submit = {}, const Log& log = {});
// With fewer threads if the system refuses so many. Throws Error if it gives none.
std::unique_ptr<ReadQueue> make_thread_queue(int threads = 8);
// The best that there is. The log is told why it is not io_uring, and of a ring that breaks.
std::unique_ptr<ReadQueue> make_read_queue(const Log& log = {});

}  // namespace cachalot
