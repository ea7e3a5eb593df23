// How fast values become blocks, by type: what `cachalot convert` needs for arithmetic alone.
//
//     bench_quantize [threads]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/thread_pool.h"
#include "quant/quantize.h"
#include "tensor/convert.h"

int main(int argc, char** argv) {
    using namespace cachalot;
    ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 0);
    constexpr std::int64_t kColumns = 4096;
    // FP4 as in a release, so that reading it is measured, too.
    std::vector<std::byte> pairs(kColumns / 2);
    std::vector<std::uint8_t> scales(kColumns / kFp4Block);
    for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<std::uint8_t>(119 + i * 7 % 3);
    const Matrix row{DType::fp4_pairs,    1, kColumns, pairs.data(), kColumns / 2, scales.data(),
                     kColumns / kFp4Block};
    const std::vector<float> weights(kColumns, 1.5f);

    fmt::print("{} threads; million values a second\n{:8} {:>10} {:>10}\n", pool.size(), "type", "plain",
               "weighted");
    for (DType type :
         {DType::q8_0, DType::q4_0, DType::q5_0, DType::q4_1, DType::q5_1, DType::mxfp4, DType::q2_k,
          DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k, DType::iq2_xxs, DType::iq3_xxs}) {
        fmt::print("{:8}", name(type));
        for (bool weighted : {false, true}) {
            using Clock = std::chrono::steady_clock;
            const auto start = Clock::now();
            std::int64_t rows = 0;
            double seconds = 0;
            while (seconds < 0.4) {
                const std::int64_t count = 16 * pool.size();
                pool.parallel_for(count, [&](std::int64_t, int) {
                    std::vector<float> values(kColumns);
                    std::vector<std::byte> out(static_cast<std::size_t>(row_bytes(type, kColumns)));
                    dequantize_row(row, 0, values);
                    quantize(type, values, weighted ? std::span(weights) : std::span<const float>(), out);
                });
                rows += count;
                seconds = std::chrono::duration<double>(Clock::now() - start).count();
            }
            fmt::print(" {:10.1f}", static_cast<double>(rows * kColumns) / seconds / 1e6);
        }
        fmt::print("\n");
    }
}
