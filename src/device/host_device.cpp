#include <cstring>
#include <new>

#include "base/aligned.h"
#include "base/memory_limit.h"
#include "base/out_of_memory.h"
#include "device/device.h"

namespace cachalot {
namespace {

class Past final : public Event {
    void synchronize() override {}
};

class HostStream final : public Stream {
    void run(Work work) override { work(); }
    void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
        if (bytes > 0) std::memcpy(to, from, bytes);
    }
    void zero(std::byte* to, std::size_t bytes) override {
        if (bytes > 0) std::memset(to, 0, bytes);
    }
    std::shared_ptr<Event> record() override { return std::make_shared<Past>(); }
    void wait(const std::shared_ptr<Event>& /*event*/) override {}
    void synchronize() override {}
};

class HostDevice final : public Device {
    const char* name() const override { return "host"; }

    std::byte* allocate(std::size_t bytes, Memory /*kind*/) override {
        try {
            return static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kCacheLine)));
        } catch (const std::bad_alloc&) {
            throw OutOfMemory(fmt::format("there is no memory for {} bytes", bytes));
        }
    }
    void release(std::byte* memory, std::size_t /*bytes*/, Memory /*kind*/) noexcept override {
        ::operator delete(memory, std::align_val_t(kCacheLine));
    }
    std::optional<std::uint64_t> free_memory() const override { return memory_limit().available; }
    std::unique_ptr<Stream> make_stream() override { return std::make_unique<HostStream>(); }
};

}  // namespace

std::shared_ptr<Device> make_host_device() { return std::make_shared<HostDevice>(); }

}  // namespace cachalot
