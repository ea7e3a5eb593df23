// How the time of some work grows with its input, to tell linear work from quadratic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ctime>

namespace cachalot::test {

// Seconds of this thread alone, which others on a busy machine do not change much.
inline double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The time for `8 * n` over that for `n`: about 8 for linear work, 64 for quadratic. The best of three each;
// `prepare` makes an input of a size, `work` is timed. `n` should be large enough to take a millisecond.
template <class Prepare, class Work>
double growth(std::size_t n, const Prepare& prepare, const Work& work) {
    const auto best = [&](std::size_t size) {
        const auto input = prepare(size);
        double least = 1e9;
        for (int i = 0; i < 3; ++i) {
            const double begin = thread_seconds();
            work(input);
            least = std::min(least, thread_seconds() - begin);
        }
        return least;
    };
    const double small = best(n);
    return best(8 * n) / std::max(small, 1e-6);
}

// Between linear and quadratic, with room for caches and for sorting.
inline constexpr double kLinearGrowth = 24;

}  // namespace cachalot::test
