// Elements in the memory of a device. The host holds the address to hand it to kernels; it may not look
// behind it.
#pragma once

#include <type_traits>
#include <utility>

#include "device/device.h"

namespace cachalot {

template <class T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    explicit Buffer(std::shared_ptr<Device> device, Device::Memory kind = Device::Memory::device)
        : device_(std::move(device)), kind_(kind) {}
    ~Buffer() { release(); }
    Buffer(Buffer&& other) noexcept
        : device_(std::move(other.device_)),
          kind_(other.kind_),
          address_(std::exchange(other.address_, nullptr)),
          capacity_(std::exchange(other.capacity_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(kind_, other.kind_);
        std::swap(address_, other.address_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }

    // Makes room for at least `count` elements and returns where. Contents are undefined afterwards if it had
    // to grow, and nothing that was given to a stream before may still use the old address.
    T* reserve(std::size_t count) {
        if (count > capacity_) {
            release();
            address_ = reinterpret_cast<T*>(device_->allocate(count * sizeof(T), kind_));
            capacity_ = count;
        }
        return address_;
    }

    T* address() const { return address_; }  // of the device, for kernels
    std::size_t capacity() const { return capacity_; }

  private:
    void release() noexcept {
        if (address_) device_->release(reinterpret_cast<std::byte*>(address_), capacity_ * sizeof(T), kind_);
        address_ = nullptr;
        capacity_ = 0;
    }

    std::shared_ptr<Device> device_;
    Device::Memory kind_;
    T* address_ = nullptr;
    std::size_t capacity_ = 0;
};

}  // namespace cachalot
