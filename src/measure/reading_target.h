// Memory that is read to learn how fast memory is: far more of it than caches hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/large_memory.h"

namespace cachalot {

class ReadingTarget {
  public:
    static constexpr std::size_t kBytes = std::size_t(384) << 20;

    // Throws Error where there is not so much memory.
    ReadingTarget() : memory_(kBytes, "measuring the speed of memory") {
        std::fill_n(reinterpret_cast<float*>(memory_.data()), kBytes / sizeof(float), 1.0f);
    }
    std::span<const float> floats() const {
        return {reinterpret_cast<const float*>(memory_.data()), kBytes / sizeof(float)};
    }

  private:
    LargeMemory memory_;
};

}  // namespace cachalot
