// So many bytes a second for all who ask.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>

namespace cachalot::server {

// Thread-safe.
class Pace {
  public:
    using Clock = std::chrono::steady_clock;
    explicit Pace(double bytes_per_second) : bytes_per_second_(bytes_per_second) {}

    // How long to wait after these bytes, so that all together keep the pace.
    Clock::duration after(std::size_t bytes, Clock::time_point now = Clock::now()) {
        const std::chrono::duration<double> takes(static_cast<double>(bytes) / bytes_per_second_);
        std::lock_guard lock(mutex_);
        free_ = std::max(free_, now) + std::chrono::duration_cast<Clock::duration>(takes);
        return free_ - now;
    }

  private:
    const double bytes_per_second_;
    std::mutex mutex_;
    Clock::time_point free_;  // when what was asked for so far has passed
};

}  // namespace cachalot::server
