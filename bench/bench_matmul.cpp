// How fast the CPU multiplies matrices of the true widths, beside what the machine can do at best.
//
//   cmake --build build/release --target bench_matmul && build/release/bench/bench_matmul --threads 2
//
// Weights are random and more than any cache holds (--working-set); products take them in turn, as the layers
// of a model do. Each line is the best of several passes, since other processes can only make a pass slower.
// One row of activations is decode, whose floor is reading the weights; many rows are prefill, whose floor is
// the arithmetic.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/large_memory.h"
#include "kernels/cpu/cpu_options.h"
#include "measure/machine_limits.h"
#include "model/random_blocks.h"

namespace cachalot {
namespace {

class Weights {
  public:
    Weights(DType type, std::int64_t rows, std::int64_t columns, std::int64_t copies)
        : bytes_(static_cast<std::size_t>(copies * rows * row_bytes(type, columns)), "weights") {
        std::int64_t stride = row_bytes(type, columns);
        RandomBlocks(type, 0.02).fill({bytes_.data(), bytes_.size()}, 1);
        for (std::int64_t i = 0; i < copies; ++i)
            matrices_.push_back({type, rows, columns, bytes_.data() + i * rows * stride, stride});
    }
    std::size_t size() const { return matrices_.size(); }
    const Matrix& operator[](std::size_t i) const { return matrices_[i]; }

  private:
    LargeMemory bytes_;
    std::vector<Matrix> matrices_;
};

struct Cost {
    double bytes = 0, operations = 0;
};

// The best rate of a few passes, each of which calls work(i) with i = 0, 1, .. for at least a tenth of a
// second. Returns seconds a call.
template <class Work>
double seconds(int passes, const Work& work) {
    double best = 1e30;
    std::size_t i = 0;
    work(i++);
    for (int p = 0; p < passes; ++p) {
        int calls = 0;
        double elapsed = 0;
        auto start = std::chrono::steady_clock::now();
        do {
            work(i++);
            ++calls;
            elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        } while (elapsed < 0.1);
        best = std::min(best, elapsed / calls);
    }
    return best;
}

struct Bench {
    Primitives& primitives;
    MachineLimits limits;
    int passes;
    std::int64_t working_set;  // bytes of all copies of a matrix

    void print(const std::string& what, int rows, Cost cost, double time, bool integer) const {
        double peak = integer ? limits.int8_ops_per_second : limits.float_ops_per_second;
        fmt::print("{:<26} {:>5} {:>9.1f} us {:>7.2f} GB/s {:>5.1f} % {:>8.1f} Gop/s {:>5.1f} % of {}\n",
                   what, rows, time * 1e6, cost.bytes / time / 1e9,
                   100 * cost.bytes / time / limits.read_bytes_per_second, cost.operations / time / 1e9,
                   100 * cost.operations / time / peak, integer ? "int8" : "float");
        std::fflush(stdout);
    }

    void product(DType type, std::int64_t outputs, std::int64_t columns,
                 std::span<const int> row_counts) const {
        outputs = std::clamp<std::int64_t>(working_set / row_bytes(type, columns) / 32 * 32, 8, outputs);
        std::int64_t size = outputs * row_bytes(type, columns);
        Weights weights(type, outputs, columns, std::max<std::int64_t>(1, working_set / size));
        int most = *std::max_element(row_counts.begin(), row_counts.end());
        std::vector<float> x(static_cast<std::size_t>(most * columns), 0.5f),
            y(static_cast<std::size_t>(most * outputs));
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 37) - 18;
        for (int rows : row_counts) {
            double time = seconds(passes, [&](std::size_t i) {
                Projection p{&weights[i % weights.size()], x.data(), columns, y.data(), outputs};
                primitives.project({&p, 1}, rows);
            });
            Cost cost{static_cast<double>(size), 2.0 * static_cast<double>(outputs * columns) * rows};
            print(fmt::format("{} {}->{}", name(type), columns, outputs), rows, cost, time,
                  type != DType::f32 && type != DType::f16 && type != DType::bf16);
        }
    }

    // Routed and shared experts of V4-Flash (hidden 4096, inner 2048, 6 of the routed for each row), with
    // fewer of them: `rows` rows give each as many rows as 256 / kExperts times `rows` would in the model.
    void experts(DType gate_up, DType down_type, std::span<const int> row_counts) const {
        constexpr std::int64_t kHidden = 4096, kInner = 2048;
        constexpr int kExperts = 32, kTop = 6;
        Weights gate(gate_up, kInner, kHidden, kExperts), up(gate_up, kInner, kHidden, kExperts),
            down(down_type, kHidden, kInner, kExperts);
        Weights shared_in(DType::q8_0, kInner, kHidden, 2), shared_out(DType::q8_0, kHidden, kInner, 1);
        std::vector<ExpertWeights> all;
        for (std::size_t e = 0; e < kExperts; ++e) all.push_back({gate[e], up[e], down[e]});
        ExpertsInMemory routed(all);
        ExpertWeights shared{shared_in[0], shared_in[1], shared_out[0]};
        std::mt19937 random(2);
        for (int rows : row_counts) {
            std::vector<float> x(static_cast<std::size_t>(rows * kHidden)), y(x.size());
            for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 37) - 18;
            constexpr int kChoices = 64;  // different routings, taken in turn
            std::vector<std::int32_t> ids;
            double bytes = 0;
            for (int choice = 0; choice < kChoices; ++choice) {
                std::vector<bool> used(kExperts);
                for (int r = 0; r < rows; ++r) {
                    std::vector<std::int32_t> order(kExperts);
                    for (int e = 0; e < kExperts; ++e) order[static_cast<std::size_t>(e)] = e;
                    std::shuffle(order.begin(), order.end(), random);
                    for (int i = 0; i < kTop; ++i) {
                        ids.push_back(order[static_cast<std::size_t>(i)]);
                        used[static_cast<std::size_t>(ids.back())] = true;
                    }
                }
                bytes += static_cast<double>(std::count(used.begin(), used.end(), true)) / kChoices;
            }
            bytes *= static_cast<double>(gate[0].bytes() + up[0].bytes() + down[0].bytes());
            bytes += static_cast<double>(shared.gate.bytes() + shared.up.bytes() + shared.down.bytes());
            std::vector<float> weights(static_cast<std::size_t>(rows * kTop), 1.0f / kTop);
            double time = seconds(passes, [&](std::size_t i) {
                primitives.experts({rows, x.data(), y.data(), kTop,
                                    ids.data() + i % kChoices * weights.size(), weights.data(), &routed,
                                    &shared, 10.0f, 10.0f});
            });
            Cost cost{bytes, 2.0 * 3 * static_cast<double>(kHidden * kInner * rows * (kTop + 1))};
            print(fmt::format("{}, {} experts", name(gate_up), name(down_type)), rows, cost, time, true);
        }
    }
};

int run(int argc, char** argv) {
    CLI::App app("Speed of the matrix products, beside the limits of the machine");
    CpuOptions options;
    std::string isa, only;
    int passes = 5;
    double working_set = 192;
    std::vector<int> rows = {1, 8, 32, 128, 512};
    app.add_option("--threads", options.threads);
    app.add_option("--isa", isa);
    app.add_option("--passes", passes);
    app.add_option("--rows", rows)->delimiter(',');
    app.add_option("--working-set", working_set,
                   "megabytes of weights; less than a cache holds shows what it is that limits")
        ->capture_default_str();
    app.add_option("--only", only, "a type, or experts");
    CLI11_PARSE(app, argc, argv);
    if (!isa.empty()) options.isa = isa;
    auto primitives = make_cpu_primitives(options);
    Bench bench{*primitives, measure_limits(*primitives, options.isa, ReadingTarget()), passes,
                static_cast<std::int64_t>(working_set * 1e6)};
    fmt::print("{}: reads {:.2f} GB/s, float {:.0f} Gop/s, int8 {:.0f} Gop/s\n", primitives->name(),
               bench.limits.read_bytes_per_second / 1e9, bench.limits.float_ops_per_second / 1e9,
               bench.limits.int8_ops_per_second / 1e9);
    struct Case {
        DType type;
        std::int64_t outputs, columns;
    };
    for (auto [type, outputs, columns] :
         {Case{DType::mxfp4, 2048, 4096}, Case{DType::mxfp4, 4096, 2048}, Case{DType::q4_k, 4096, 2048},
          Case{DType::q2_k, 4096, 2048}, Case{DType::iq2_xxs, 2048, 4096}, Case{DType::q8_0, 1024, 4096},
          Case{DType::q8_0, 32768, 1024}, Case{DType::q8_0, 4096, 8192}, Case{DType::bf16, 4096, 4096},
          Case{DType::f16, 24, 16384}, Case{DType::f32, 256, 4096}})
        if (only.empty() || only == name(type)) bench.product(type, outputs, columns, rows);
    if (only.empty() || only == "experts") {
        bench.experts(DType::mxfp4, DType::mxfp4, rows);
        bench.experts(DType::iq2_xxs, DType::q2_k, rows);
    }
    return 0;
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
    try {
        return cachalot::run(argc, argv);
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
