// Measures what decode and prefill are compared with.
#include <algorithm>
#include <chrono>
#include <functional>

#include "base/large_memory.h"
#include "kernels/cpu/cpu_backend.h"

namespace cachalot::cpu {
namespace {

// The best of a few runs: other processes can only make a run slower.
double best_rate(int runs, const std::function<double()>& work) {
    double best = 0;
    for (int i = 0; i < runs; ++i) {
        auto start = std::chrono::steady_clock::now();
        double amount = work();
        best = std::max(
            best, amount / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

}  // namespace

MachineLimits CpuBackend::measure_limits() {
    MachineLimits limits;
    std::int64_t threads = pool_.size();
    // Reading: far more than the caches hold, in pieces that the threads take in turn.
    constexpr std::int64_t kPiece = std::int64_t(1) << 20,
                           kPieces = 96;  // floats: 4 MiB each, 384 MiB in all
    const LargeMemory memory(kPiece * kPieces * sizeof(float), "measuring the speed of memory");
    auto* floats = reinterpret_cast<float*>(memory.data());
    std::fill_n(floats, kPiece * kPieces, 1.0f);
    std::vector<float> sums(static_cast<std::size_t>(kPieces));
    limits.read_bytes_per_second = best_rate(4, [&] {
        pool_.parallel_for(kPieces, [&](std::int64_t i, int) {
            sums[static_cast<std::size_t>(i)] = kernels_.sum_of_squares(floats + i * kPiece, kPiece);
        });
        return static_cast<double>(kPiece * kPieces * 4);
    });
    auto peak = [&](std::int64_t (*loop)(std::int64_t)) {
        return best_rate(4, [&] {
            std::vector<std::int64_t> done(static_cast<std::size_t>(threads));
            pool_.parallel_for(
                threads, [&](std::int64_t i, int) { done[static_cast<std::size_t>(i)] = loop(500'000); });
            double total = 0;
            for (auto d : done) total += static_cast<double>(d);
            return total;
        });
    };
    limits.float_ops_per_second = peak(kernels_.float_peak);
    limits.int8_ops_per_second = peak(kernels_.int8_peak);
    return limits;
}

}  // namespace cachalot::cpu
