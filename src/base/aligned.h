// A block of trivially copyable elements aligned to a cache line. Grows without keeping its contents: it is
// meant for scratch that is overwritten on every use.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace cachalot {

inline constexpr std::size_t kCacheLine = 64;

template <class T>
class AlignedBuffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(std::size_t count) { reserve(count); }

    // Makes room for at least `count` elements; the contents are undefined afterwards if it had to grow.
    T* reserve(std::size_t count) {
        if (count > capacity_) {
            data_.reset();
            data_.reset(static_cast<T*>(::operator new[](count * sizeof(T), std::align_val_t(kCacheLine))));
            capacity_ = count;
        }
        return data_.get();
    }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    std::size_t capacity() const { return capacity_; }
    T& operator[](std::size_t i) { return data_.get()[i]; }
    const T& operator[](std::size_t i) const { return data_.get()[i]; }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete[](p, std::align_val_t(kCacheLine)); }
    };
    std::unique_ptr<T[], Free> data_;
    std::size_t capacity_ = 0;
};

}  // namespace cachalot
