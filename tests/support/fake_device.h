// A device that is as unlike the host as a device may be, to find code that only works where both are one.
//
// Its memory cannot be read or written but by work on its streams: anything else ends the program. Nothing
// runs when it is given to a stream, but late, when somebody waits, and then the works of all streams in a
// random order of those that their events allow. Passes are recorded once and replayed.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/out_of_memory.h"
#include "device/device.h"

namespace cachalot::test {

class FakeDevice final : public Device, public std::enable_shared_from_this<FakeDevice> {
  public:
    explicit FakeDevice(unsigned seed) : random_(seed) {}

    std::int64_t works() const { return works_; }  // that have run
    std::int64_t switches() const {
        return switches_;
    }  // from one stream to another that was given nothing before it

    const char* name() const override { return "fake"; }
    bool replays() const override { return true; }
    std::optional<std::uint64_t> free_memory() const override { return std::nullopt; }

    std::byte* allocate(std::size_t bytes, Memory kind) override {
        if (kind == Memory::pinned) return new std::byte[bytes];
        std::lock_guard lock(mutex_);
        const std::size_t size = rounded(bytes);
        void* memory = ::mmap(nullptr, size, open_ ? PROT_READ | PROT_WRITE : PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw OutOfMemory(fmt::format("there is no memory for {} bytes", bytes));
        regions_[static_cast<std::byte*>(memory)] = size;
        return static_cast<std::byte*>(memory);
    }
    void release(std::byte* memory, std::size_t bytes, Memory kind) noexcept override {
        if (kind == Memory::pinned) {
            delete[] memory;
            return;
        }
        std::lock_guard lock(mutex_);
        regions_.erase(memory);
        ::munmap(memory, rounded(bytes));
    }

    std::unique_ptr<Stream> make_stream() override {
        return std::make_unique<FakeStream>(shared_from_this());
    }

  private:
    struct Queue;
    struct Moment {  // of a queue: when so many of its items have run
        Queue* queue;
        std::int64_t items;
    };
    struct Item {
        Stream::Work work;  // or
        std::optional<Moment> after;
    };
    struct Queue {
        std::deque<Item> items;
        std::int64_t given = 0, done = 0;
        std::exception_ptr failure;
    };

    class FakeEvent final : public Event {
      public:
        FakeEvent(std::shared_ptr<FakeDevice> device, std::shared_ptr<Queue> queue, std::int64_t items)
            : device_(std::move(device)), queue_(std::move(queue)), items_(items) {}
        void synchronize() override { device_->run_until(*queue_, items_); }
        Moment moment() const { return {queue_.get(), items_}; }

      private:
        std::shared_ptr<FakeDevice> device_;
        std::shared_ptr<Queue> queue_;
        std::int64_t items_;
    };

    class FakeStream final : public Stream {
      public:
        explicit FakeStream(std::shared_ptr<FakeDevice> device) : device_(std::move(device)) {
            std::lock_guard lock(device_->mutex_);
            device_->queues_.push_back(queue_);
        }
        ~FakeStream() override {
            std::lock_guard lock(device_->mutex_);
            std::erase(device_->queues_, queue_);
        }
        void run(Work work) override { give({std::move(work), std::nullopt}); }
        void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
            if (bytes > 0) run([=] { std::memcpy(to, from, bytes); });
        }
        void zero(std::byte* to, std::size_t bytes) override {
            if (bytes > 0) run([=] { std::memset(to, 0, bytes); });
        }
        std::shared_ptr<Event> record() override {
            return std::make_shared<FakeEvent>(device_, queue_, queue_->given);
        }
        void wait(const std::shared_ptr<Event>& event) override {
            give({{}, static_cast<FakeEvent&>(*event).moment()});
        }
        void synchronize() override { device_->run_until(*queue_, queue_->given); }

      private:
        void give(Item item) {
            std::lock_guard lock(device_->mutex_);
            queue_->items.push_back(std::move(item));
            ++queue_->given;
        }
        std::shared_ptr<FakeDevice> device_;
        std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
    };

    static std::size_t rounded(std::size_t bytes) {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        return (std::max<std::size_t>(bytes, 1) + page - 1) / page * page;
    }

    void protect(bool open) {
        open_ = open;
        for (const auto& [memory, size] : regions_)
            ::mprotect(memory, size, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    }

    static bool ready(const Queue& queue) {
        if (queue.items.empty()) return false;
        const auto& after = queue.items.front().after;
        return !after || after->queue->done >= after->items;
    }

    void run_until(Queue& queue, std::int64_t items) {
        std::lock_guard lock(mutex_);
        while (queue.done < items) {
            std::vector<Queue*> able;
            for (const auto& q : queues_)
                if (ready(*q)) able.push_back(q.get());
            CACHALOT_CHECK(!able.empty());  // streams wait for each other
            Queue& next = *able[random_() % able.size()];
            switches_ += &next != last_;
            last_ = &next;
            Item item = std::move(next.items.front());
            next.items.pop_front();
            if (item.work && !next.failure) {
                protect(true);
                try {
                    item.work();
                } catch (...) {
                    next.failure = std::current_exception();
                }
                protect(false);
                ++works_;
            }
            ++next.done;
        }
        if (auto failure = std::exchange(queue.failure, nullptr)) std::rethrow_exception(failure);
    }

    std::recursive_mutex mutex_;  // work may allocate
    std::mt19937 random_;
    std::map<std::byte*, std::size_t> regions_;
    std::vector<std::shared_ptr<Queue>> queues_;
    bool open_ = false;
    std::int64_t works_ = 0, switches_ = 0;
    const Queue* last_ = nullptr;
};

}  // namespace cachalot::test
