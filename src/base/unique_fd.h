// A file descriptor that is closed with its owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace cachalot {

class UniqueFd {
  public:
    UniqueFd() = default;
    // Takes what open(), socket() or eventfd() has returned; a negative number is none.
    explicit UniqueFd(int descriptor) noexcept : descriptor_(descriptor) {}
    ~UniqueFd() { reset(); }
    UniqueFd(UniqueFd&& other) noexcept : descriptor_(other.release()) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }

    int get() const { return descriptor_; }
    explicit operator bool() const { return descriptor_ >= 0; }

    // Gives it up without closing it.
    int release() noexcept { return std::exchange(descriptor_, -1); }

    // Closes what it has, and takes another. Leaves errno as it is.
    void reset(int descriptor = -1) noexcept;

  private:
    int descriptor_ = -1;
};

}  // namespace cachalot
