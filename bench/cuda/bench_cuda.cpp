// How fast a card reads memory, starts kernels, and computes the parts of a step of V4-Flash that writes one
// token or a few, beside what its memory can do.
//
//   cmake --build build/release --target bench_cuda && build/release/bench/bench_cuda [CARD]
//
// Weights are random, and several copies of them, more than the card's cache holds, are taken in turn. A part
// is recorded many times in a graph, as it is in a step, and the median of several replays is shown: so what
// lies between two kernels is counted. "of copying" compares with a copy inside the card in the same run,
// whose bytes are counted twice, read and written.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <vector>

#include "base/error.h"
#include "cuda/limits.h"
#include "device/buffer.h"
#include "device/cuda_device.h"
#include "device/cuda_error.h"
#include "device/cuda_graph.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/mix.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/stream_experts.h"
#include "kernels/cuda/stream_product.h"
#include "model/random_blocks.h"

namespace cachalot {
namespace {

constexpr std::size_t kWorkingSet = std::size_t(400) << 20;  // bytes of all copies; caches are smaller

struct Bench {
    std::shared_ptr<Device> device;
    std::unique_ptr<Stream> stream = device->make_stream();
    CudaCard card = *card_of(*device);
    double copying = 0;  // bytes a second
    cuda::Grids grids{};
    Buffer<std::uint16_t> grid_values{device};

    CudaStreamHandle handle() { return cuda_handle(*stream); }

    // The median time of a replay of `graph`, seconds.
    double seconds(const CudaGraph& graph) {
        cudaEvent_t begin, end;
        check_cuda(cudaEventCreate(&begin), "cudaEventCreate");
        check_cuda(cudaEventCreate(&end), "cudaEventCreate");
        std::vector<float> times;
        for (int i = 0; i < 12; ++i) {
            check_cuda(cudaEventRecord(begin, handle()), "cudaEventRecord");
            graph.launch(*stream);
            check_cuda(cudaEventRecord(end, handle()), "cudaEventRecord");
            check_cuda(cudaEventSynchronize(end), "cudaEventSynchronize");
            float ms = 0;
            check_cuda(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
            if (i >= 2) times.push_back(ms);
        }
        cudaEventDestroy(begin);
        cudaEventDestroy(end);
        std::sort(times.begin(), times.end());
        return times[times.size() / 2] / 1e3;
    }

    // Times work(i), which is recorded `times` times.
    template <class Work>
    void line(const std::string& name, double bytes, const Work& work, int times = 40) {
        const CudaGraph graph(*stream, [&] {
            for (int i = 0; i < times; ++i) work(static_cast<std::size_t>(i));
        });
        const double each = seconds(graph) / times;
        fmt::print("{:<46} {:>8.2f} us", name, each * 1e6);
        if (bytes > 0)
            fmt::print(" {:>8.2f} MB {:>8.0f} GB/s  {:.2f} of copying", bytes / 1e6, bytes / each / 1e9,
                       bytes / each / copying);
        fmt::print("\n");
    }
};

template <class T>
T* on_card(Bench& b, Buffer<T>& buffer, const std::vector<T>& values) {
    b.stream->copy(reinterpret_cast<std::byte*>(buffer.reserve(values.size())),
                   reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T));
    b.stream->synchronize();
    return buffer.address();
}

// Copies of a random matrix on the card.
struct Weights {
    Buffer<std::byte> memory;
    std::vector<Matrix> copies;

    Weights(Bench& b, DType type, std::int64_t rows, std::int64_t columns, std::size_t count)
        : memory(b.device) {
        const std::int64_t stride = row_bytes(type, columns), bytes = (rows * stride + 255) / 256 * 256;
        std::vector<std::byte> one(static_cast<std::size_t>(bytes));
        RandomBlocks(type, 0.02).fill({one.data(), static_cast<std::size_t>(rows * stride)}, 1);
        std::byte* at = memory.reserve(count * one.size());
        for (std::size_t i = 0; i < count; ++i, at += bytes) {
            b.stream->copy(at, one.data(), one.size());
            copies.push_back({type, rows, columns, at, stride});
        }
        b.stream->synchronize();
    }
};

std::vector<float> random_floats(std::size_t count) {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> v(count);
    for (float& x : v) x = normal(engine);
    return v;
}

void limits(Bench& b) {
    constexpr std::size_t kBytes = std::size_t(2) << 30;
    Buffer<std::byte> from(b.device), to(b.device);
    from.reserve(kBytes);
    to.reserve(kBytes);
    b.stream->zero(from.address(), kBytes);
    const CudaGraph copy(*b.stream, [&] { b.stream->copy(to.address(), from.address(), kBytes); });
    b.copying = 2.0 * kBytes / b.seconds(copy);
    const CudaGraph read(*b.stream, [&] {
        bench::read(from.address(), kBytes, to.address(), b.card.multiprocessors, b.handle());
    });
    fmt::print("{}: copying {:.0f} GB/s, reading {:.0f} GB/s\n", b.device->name(), b.copying / 1e9,
               kBytes / b.seconds(read) / 1e9);
    b.line(
        "a kernel that does nothing", 0, [&](std::size_t) { bench::nothing(1, b.handle()); }, 400);
    b.line(
        "the same, of all multiprocessors", 0,
        [&](std::size_t) { bench::nothing(b.card.multiprocessors, b.handle()); }, 400);
}

struct Rows {
    DType type;
    std::int64_t rows;
};
struct Shape {
    const char* name;
    std::int64_t columns;
    std::vector<Rows> matrices;
    bool own_inputs = false;
};

// Launches of a step of V4-Flash.
const Shape kShapes[] = {
    {"front of a window layer", 4096, {{DType::q8_0, 1024}, {DType::q8_0, 512}}},
    {"front of a CSA layer",
     4096,
     {{DType::q8_0, 1024},
      {DType::q8_0, 512},
      {DType::bf16, 1024},
      {DType::bf16, 1024},
      {DType::q8_0, 64},
      {DType::bf16, 256},
      {DType::bf16, 256}}},
    {"front of an HCA layer",
     4096,
     {{DType::q8_0, 1024}, {DType::q8_0, 512}, {DType::bf16, 512}, {DType::bf16, 512}}},
    {"queries", 1024, {{DType::q8_0, 32768}}},
    {"queries and indexer's", 1024, {{DType::q8_0, 32768}, {DType::q8_0, 8192}}},
    {"output_a",
     4096,
     {{DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024},
      {DType::q8_0, 1024}},
     true},
    {"output_b", 8192, {{DType::q8_0, 4096}}},
    {"router", 4096, {{DType::bf16, 256}}},
    {"head", 4096, {{DType::q8_0, 129280}}},
};

void products(Bench& b) {
    for (const Shape& s : kShapes) {
        double bytes = 0;
        std::int64_t outputs = 0;
        for (const auto& [type, rows] : s.matrices) {
            bytes += static_cast<double>(rows * row_bytes(type, s.columns));
            outputs += rows;
        }
        const auto count = std::max<std::size_t>(2, kWorkingSet / static_cast<std::size_t>(bytes) + 1);
        std::vector<Weights> weights;
        for (const auto& [type, rows] : s.matrices) weights.emplace_back(b, type, rows, s.columns, count);
        const auto inputs = s.own_inputs ? static_cast<std::int64_t>(s.matrices.size()) : 1;
        Buffer<float> x(b.device), y(b.device);
        on_card(b, x, random_floats(static_cast<std::size_t>(8 * inputs * s.columns)));
        y.reserve(static_cast<std::size_t>(8 * outputs));
        const auto calls = [&](std::size_t copy) {
            std::vector<Projection> all;
            for (std::int64_t i = 0, at = 0; const Weights& w : weights) {
                const Matrix& m = w.copies[copy % count];
                all.push_back({&m, x.address() + (s.own_inputs ? i * s.columns : 0), inputs * s.columns,
                               y.address() + at, outputs, m.dtype == DType::bf16});
                at += m.rows;
                ++i;
            }
            return all;
        };
        for (const int rows : {1, 2, 4})
            if (cuda::can_stream(calls(0), rows, b.card))
                b.line(fmt::format("{}, {} rows", s.name, rows), bytes,
                       [&](std::size_t i) { cuda::project_streamed(calls(i), rows, b.card, b.handle()); });
        b.line(fmt::format("{}, 1 row, general", s.name), bytes,
               [&](std::size_t i) { cuda::project(calls(i), 1, b.grids, b.handle()); });
    }
}

void experts(Bench& b, const char* name, DType inner, DType down) {
    constexpr std::int64_t H = 4096, I = 2048;
    constexpr int kExperts = 48, kTop = 6;
    Weights gate(b, inner, I, H, kExperts), up(b, inner, I, H, kExperts), output(b, down, H, I, kExperts);
    Weights shared_gate(b, DType::q8_0, I, H, 1), shared_up(b, DType::q8_0, I, H, 1),
        shared_down(b, DType::q8_0, H, I, 1);
    std::vector<ExpertWeights> table;
    for (std::size_t e = 0; e < kExperts; ++e)
        table.push_back({gate.copies[e], up.copies[e], output.copies[e]});
    std::vector<std::int32_t> ids(kExperts);
    for (int e = 0; e < kExperts; ++e) ids[static_cast<std::size_t>(e)] = e;
    Buffer<ExpertWeights> table_there(b.device);
    Buffer<std::int32_t> ids_there(b.device);
    Buffer<float> x(b.device), y(b.device), room(b.device), weights(b.device);
    on_card(b, table_there, table);
    on_card(b, ids_there, ids);
    on_card(b, x, random_floats(4 * H));
    on_card(b, weights, std::vector<float>(kExperts, 0.25f));
    y.reserve(4 * H);
    room.reserve(4 * (kTop + 1) * I);
    const ExpertWeights shared{shared_gate.copies[0], shared_up.copies[0], shared_down.copies[0]};
    const auto bytes_of = [](const ExpertWeights& e) {
        return static_cast<double>(e.gate.bytes() + e.up.bytes() + e.down.bytes());
    };
    const auto call = [&](std::size_t i, int rows) {
        cuda::ExpertsCall c;
        c.rows = rows, c.x = x.address(), c.y = y.address(), c.inner = room.address(), c.top_k = kTop;
        c.ids = ids_there.address() + i % (kExperts / kTop / static_cast<std::size_t>(rows)) * kTop *
                                          static_cast<std::size_t>(rows);
        c.weights = weights.address(), c.routed = table_there.address(), c.shared = shared;
        c.limit = c.shared_limit = 10.0f, c.grids = b.grids;
        return c;
    };
    for (const int rows : {1, 2, 4}) {
        const double bytes = rows * kTop * bytes_of(table[0]) + bytes_of(shared);
        if (cuda::can_stream_experts(table[0], shared, rows, kTop, b.card))
            b.line(fmt::format("experts {}, {} rows", name, rows), bytes, [&](std::size_t i) {
                cuda::experts_streamed(call(i, rows), table[0], b.card, b.handle());
            });
    }
    b.line(fmt::format("experts {}, 1 row, general", name), kTop * bytes_of(table[0]) + bytes_of(shared),
           [&](std::size_t i) { cuda::experts(call(i, 1), b.handle()); });
}

void mixes(Bench& b) {
    constexpr int H = 4096;
    Weights fn(b, DType::f32, 24, 4 * H, 100);
    Buffer<float> base(b.device), scale(b.device), norm(b.device), streams(b.device), x(b.device),
        post(b.device), comb(b.device), dots(b.device), logits(b.device), bias(b.device), weights(b.device);
    Buffer<std::int32_t> ids(b.device);
    on_card(b, base, random_floats(24));
    on_card(b, scale, random_floats(3));
    on_card(b, norm, random_floats(H));
    on_card(b, streams, random_floats(16 * H));
    on_card(b, logits, random_floats(4 * 256));
    on_card(b, bias, random_floats(256));
    x.reserve(4 * H), post.reserve(16), comb.reserve(64), dots.reserve(4 * cuda::MixCall::kDots);
    weights.reserve(4 * 6), ids.reserve(4 * 6);
    for (const int rows : {1, 4}) {
        b.line(
            fmt::format("mix, {} rows", rows), static_cast<double>(fn.copies[0].bytes()), [&](std::size_t i) {
                cuda::MixCall c;
                c.weights = {fn.copies[i % 100], base.address(), scale.address()};
                c.params.hidden = H, c.norm = norm.address(), c.streams = streams.address(), c.rows = rows;
                c.dots = dots.address(), c.x = x.address(), c.post = post.address(), c.comb = comb.address();
                c.grids = b.grids;
                cuda::mix(c, b.handle());
            });
        b.line(fmt::format("spread, {} rows", rows), 0, [&](std::size_t) {
            cuda::spread(x.address(), post.address(), comb.address(), streams.address(), H, rows, b.handle());
        });
        b.line(fmt::format("route, {} rows", rows), 0, [&](std::size_t) {
            RouteCall c;
            c.rows = rows, c.logits = logits.address(), c.experts = 256, c.top_k = 6, c.bias = bias.address();
            c.ids = ids.address(), c.weights = weights.address();
            cuda::route(c, b.handle());
        });
    }
}

void run(int index) {
    Bench b{make_cuda_device(index)};
    const auto values = cuda::grid_values();
    b.grids =
        cuda::grids_at(on_card(b, b.grid_values, std::vector<std::uint16_t>(values.begin(), values.end())));
    limits(b);
    mixes(b);
    products(b);
    experts(b, "MXFP4", DType::mxfp4, DType::mxfp4);
    experts(b, "IQ2_XXS and Q2_K", DType::iq2_xxs, DType::q2_k);
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
    try {
        cachalot::run(argc > 1 ? std::atoi(argv[1]) : 0);
        return 0;
    } catch (const std::exception& e) {
        fmt::print(stderr, "bench_cuda: {}\n", e.what());
        return 1;
    }
}
