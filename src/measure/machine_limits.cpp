#include "measure/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "kernels/cpu/instruction_sets.h"

namespace cachalot {
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

double measure_reading(Primitives& primitives, const std::optional<std::string>& isa,
                       const ReadingTarget& memory) {
    const auto sum_of_squares = cpu::choose_table(isa).sum_of_squares;
    const std::span<const float> floats = memory.floats();
    constexpr std::size_t kPiece = std::size_t(1) << 20;  // floats, which a thread reads at a time
    const std::size_t pieces = floats.size() / kPiece;
    std::vector<float> sums(pieces);
    return best_rate(1, [&] {
        primitives.for_each(static_cast<int>(pieces), [&](int i) {
            const auto piece = static_cast<std::size_t>(i);
            sums[piece] = sum_of_squares(floats.data() + piece * kPiece, kPiece);
        });
        return static_cast<double>(pieces * kPiece * sizeof(float));
    });
}

MachineLimits measure_limits(Primitives& primitives, const std::optional<std::string>& isa,
                             const ReadingTarget& memory) {
    MachineLimits limits;
    const int threads = primitives.threads();
    const cpu::Table& loops = cpu::choose_table(isa);
    for (int i = 0; i < 4; ++i)
        limits.read_bytes_per_second =
            std::max(limits.read_bytes_per_second, measure_reading(primitives, isa, memory));
    auto peak = [&](std::int64_t (*loop)(std::int64_t)) {
        return best_rate(4, [&] {
            std::vector<std::int64_t> done(static_cast<std::size_t>(threads));
            primitives.for_each(threads, [&](int i) { done[static_cast<std::size_t>(i)] = loop(500'000); });
            double total = 0;
            for (auto d : done) total += static_cast<double>(d);
            return total;
        });
    };
    limits.float_ops_per_second = peak(loops.float_peak);
    limits.int8_ops_per_second = peak(loops.int8_peak);
    return limits;
}

}  // namespace cachalot
