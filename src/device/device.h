// Memory that belongs to a processor, and the order of what happens to it.
//
// What a pass computes with (activations, attention states) lies in memory of a Device. The host plans with
// addresses of it and counts its bytes, but reads and writes it only through a Stream: by a copy, or by work
// that runs where the memory is. On HostDevice both happen at once. Elsewhere they happen later, so whoever
// wants to see a result synchronizes first, and what work refers to outlives it.
//
// Works of one stream run one after the other. Works of two streams run in any order, or side by side, but
// for what events say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace cachalot {

// A moment of a stream: when all that was given to it before has run.
class Event {
  public:
    virtual ~Event() = default;
    virtual void synchronize() = 0;  // waits for it; throws what the stream's work threw
};

// One thread at a time may use a stream.
class Stream {
  public:
    using Work = std::function<void()>;

    virtual ~Stream() = default;

    // Work that may read and write memory of the device, if Device::shares_memory(); else it may only keep
    // books. It may throw: on the host, to the caller of run(); elsewhere nothing that the stream was given
    // after it runs, until synchronize() has thrown the exception.
    virtual void run(Work work) = 0;

    // Each side is memory of the device or of the host. Memory of the host stays as it is until the copy was
    // made.
    virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes) = 0;

    virtual void zero(std::byte* to, std::size_t bytes) = 0;  // memory of the device

    virtual std::shared_ptr<Event> record() = 0;
    virtual void wait(const std::shared_ptr<Event>& event) = 0;  // what follows runs after it
    virtual void synchronize() = 0;                              // waits for all; throws what work threw
};

// Any thread may use a device.
class Device {
  public:
    enum class Memory {
        device,  // where the processor computes
        pinned,  // memory of the host that the device can copy to and from on its own
    };

    virtual ~Device() = default;

    virtual const char* name() const = 0;  // for people

    // Aligned to a cache line; contents undefined. Throws OutOfMemory if there is not so much.
    virtual std::byte* allocate(std::size_t bytes, Memory kind) = 0;
    virtual void release(std::byte* memory, std::size_t bytes, Memory kind) noexcept = 0;

    // Bytes that could be allocated; none where nobody knows.
    virtual std::optional<std::uint64_t> free_memory() const = 0;

    virtual std::unique_ptr<Stream> make_stream() = 0;

    // True where the host can look behind addresses of the device, in work of a stream.
    virtual bool shares_memory() const { return true; }

    // True where giving work to a stream is slow, so that the boxes of a pass are recorded once and given
    // again for others.
    virtual bool replays() const { return false; }
};

// The processor that the program itself runs on: any thread may read the memory at any time, and work is done
// when run() returns.
std::shared_ptr<Device> make_host_device();

}  // namespace cachalot
