// How much memory the attention states of an engine take, counted where it is allocated: what several states
// share is counted once, and nothing has to be estimated.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace cachalot {

class MemoryCount {
  public:
    std::int64_t bytes() const { return bytes_; }
    std::int64_t peak() const { return peak_; }  // the most that bytes() has been

    void add(std::int64_t bytes) {
        auto now = bytes_ += bytes;
        for (auto peak = peak_.load(); peak < now && !peak_.compare_exchange_weak(peak, now);) {
        }
    }
    void remove(std::int64_t bytes) { bytes_ -= bytes; }

  private:
    std::atomic<std::int64_t> bytes_ = 0, peak_ = 0;
};

// The standard allocator, which tells a MemoryCount (none if it is null). Copies of a container count where
// the original does. Bytes that a container grows by are not cleared.
template <class T>
class CountedAllocator {
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    CountedAllocator() = default;
    explicit CountedAllocator(std::shared_ptr<MemoryCount> count) : count_(std::move(count)) {}
    template <class U>
    CountedAllocator(const CountedAllocator<U>& other) : count_(other.count()) {}

    T* allocate(std::size_t n) {
        T* memory = std::allocator<T>().allocate(n);
        if (count_) count_->add(static_cast<std::int64_t>(n * sizeof(T)));
        return memory;
    }
    void deallocate(T* memory, std::size_t n) {
        if (count_) count_->remove(static_cast<std::int64_t>(n * sizeof(T)));
        std::allocator<T>().deallocate(memory, n);
    }

    template <class U>
    void construct(U* element) {
        ::new (static_cast<void*>(element)) U;
    }
    template <class U, class... From>
    void construct(U* element, From&&... from) {
        ::new (static_cast<void*>(element)) U(std::forward<From>(from)...);
    }

    const std::shared_ptr<MemoryCount>& count() const { return count_; }
    template <class U>
    bool operator==(const CountedAllocator<U>& other) const {
        return count_ == other.count();
    }

  private:
    std::shared_ptr<MemoryCount> count_;
};

using CountedBytes = std::vector<std::byte, CountedAllocator<std::byte>>;

}  // namespace cachalot
