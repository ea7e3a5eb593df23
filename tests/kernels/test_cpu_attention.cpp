// Attention and what it remembers on every instruction set of this machine, against the scalar reference.
#include <algorithm>
#include <numeric>

#include "kernels/cpu_backend_test.h"

namespace cachalot {
namespace {

using test::Angles;
using test::expect_close;

class CpuAttentionTest : public test::CpuBackendTest {};
INSTANTIATE_TEST_SUITE_P(Isa, CpuAttentionTest, testing::ValuesIn(test::tested_sets()),
                         [](const auto& param) { return param.param; });

TEST_P(CpuAttentionTest, LatentRowsAreEncodedAlike) {
    auto cpu = backend();
    auto norm = random.vector(128);
    Angles angles(5, 32, random);
    auto kv = random.vector(5 * 128);
    using Kind = RowFormat::Kind;
    for (auto kind : {Kind::f32, Kind::fp8_kv, Kind::fp8_32}) {
        RowFormat format{kind, 128, 64};
        std::vector<std::byte> rings[2];
        for (int i = 0; i < 2; ++i) {
            rings[i].resize(static_cast<std::size_t>(8 * format.bytes()));
            LatentCall call{6,     5,           kv.data(), norm.data(),
                            1e-6f, angles.view, format,    {rings[i].data(), 8, format.bytes()}};
            (i ? *cpu : *reference).latent({&call, 1});
        }
        for (int p = 6; p < 11; ++p) {
            std::vector<float> a(128), b(128);
            decode_row(format, rings[0].data() + p % 8 * format.bytes(), a.data());
            decode_row(format, rings[1].data() + p % 8 * format.bytes(), b.data());
            // FP8: a value next to a rounding border may fall on either side, one step of 1/8 at most
            expect_close(a, b, kind == Kind::f32 ? 1e-6f : 0.07f);
        }
    }
}

// How a layer attends to older tokens.
struct Shape {
    int ratio = 0;
    bool overlap = false, indexer = false;
    bool gate_bias = true;  // V4: ape
    bool keys_of_rows =
        false;  // V4.1: keys are made of the compressed rows, and nothing is rotated by Hadamard
    RowFormat::Kind window = RowFormat::Kind::f32, rows = window, keys = window;

    bool rounds() const { return window != RowFormat::Kind::f32; }
};
using Kind = RowFormat::Kind;
const Shape kShapes[] = {
    {},
    {4, true, true},
    {128},
    {.window = Kind::fp8_kv, .rows = Kind::fp8_kv, .keys = Kind::fp4_key},
    {4, true, true, true, false, Kind::fp8_kv, Kind::fp8_kv, Kind::fp4_key},
    {128, false, false, true, false, Kind::fp8_kv, Kind::fp8_kv, Kind::fp4_key},
    {1, false, true, false, true},
    {2, false, true, false, true},
    {3, false, true, false, true},
    {1, false, true, false, true, Kind::fp8_32, Kind::fp4_16, Kind::fp4_key},
    {2, false, true, false, true, Kind::fp8_32, Kind::fp4_16, Kind::fp4_key},
    {3, false, true, false, true, Kind::fp8_32, Kind::fp4_16, Kind::fp4_key},
};

// What a layer has learned, and some rows of activations of one sequence.
struct Weights {
    std::vector<float> norm, sinks, frequencies, ape;
};
struct Chunk {
    std::int64_t start;
    int count;
    Angles angles;
    std::vector<float> latent, kv, gate, q, index_q, index_weights;
};

// Compressor, indexer and attention of one layer over one sequence, in chunks. `Layer` owns the state.
struct Layer {
    static constexpr int kSize = 128, kRotary = 64, kHeads = 5, kTopK = 6;
    static constexpr std::int64_t kTokens = 512;  // at most
    Shape shape;
    RowFormat window_format, row_format, key_format;
    std::vector<std::byte> window, rows, keys;
    std::vector<float> kv, score;
    std::vector<std::byte*> pages, key_pages;
    std::vector<float> out;  // of the last chunk
    std::vector<std::int32_t> selected, candidates;

    explicit Layer(const Shape& s)
        : shape(s),
          window_format{s.window, kSize, kRotary},
          row_format{s.rows, kSize, kRotary},
          key_format{s.keys, kSize, kRotary} {
        window.resize(static_cast<std::size_t>(kTokens * window_format.bytes()));
        kv.resize(kTokens * 2 * kSize);
        score.resize(kTokens * 2 * kSize);
        const int per_page = s.ratio ? (256 + s.ratio - 1) / s.ratio : 0;
        rows.resize(static_cast<std::size_t>(2 * per_page * row_format.bytes()));
        keys.resize(static_cast<std::size_t>(2 * per_page * key_format.bytes()));
        for (int p = 0; p < 2; ++p) {
            pages.push_back(rows.data() + p * per_page * row_format.bytes());
            key_pages.push_back(keys.data() + p * per_page * key_format.bytes());
        }
    }
    int width() const { return shape.overlap ? 2 * kSize : kSize; }
    RingView ring(std::vector<float>& v) const {
        return {reinterpret_cast<std::byte*>(v.data()), kTokens, width() * 4};
    }
    RingView ring_of_window() { return {window.data(), kTokens, window_format.bytes()}; }
    PagedView paged() const { return {pages.data(), shape.ratio, row_format.bytes()}; }
    PagedView paged_keys() const { return {key_pages.data(), shape.ratio, key_format.bytes()}; }

    void remember(Primitives& backend, const Weights& w, const Chunk& x) {
        LatentCall latent{x.start, x.count,       x.latent.data(), w.norm.data(),
                          1e-6f,   x.angles.view, window_format,   ring_of_window()};
        backend.latent({&latent, 1});
        if (!shape.ratio) return;
        CompressCall pool;
        pool.start = x.start, pool.rows = x.count;
        pool.kv = x.kv.data();
        if (shape.ratio > 1) pool.gate = x.gate.data();
        if (shape.gate_bias) pool.ape = w.ape.data();
        pool.width = width(), pool.ratio = shape.ratio, pool.overlap = shape.overlap;
        pool.kv_state = ring(kv), pool.score_state = ring(score);
        pool.norm = w.norm.data(), pool.frequencies = w.frequencies.data();
        pool.format = row_format, pool.out = paged();
        const auto first = x.start / shape.ratio;
        const auto made = static_cast<int>((x.start + x.count) / shape.ratio - first);
        std::vector<float> latents(static_cast<std::size_t>(made * kSize));
        if (shape.keys_of_rows) pool.latents = latents.data();
        backend.compress({&pool, 1});
        if (!shape.indexer) return;
        if (shape.keys_of_rows) {
            KeyCall key{first,       made,        latents.data(),       w.norm.data(),
                        1e-6f,       shape.ratio, w.frequencies.data(), key_format,
                        paged_keys()};
            backend.keys({&key, 1});
        } else {
            pool.hadamard = true;
            pool.format = key_format, pool.out = paged_keys();
            backend.compress({&pool, 1});
        }
    }
    IndexCall choice(const Chunk& x, std::vector<float>& q) {
        IndexCall choose;
        choose.start = x.start, choose.rows = x.count;
        choose.q = q.data(), choose.weights = x.index_weights.data(), choose.rotary = x.angles.view;
        choose.heads = 2, choose.ratio = shape.ratio, choose.hadamard = !shape.keys_of_rows;
        choose.format = key_format, choose.keys = paged_keys();
        choose.top_k = kTopK, choose.selected = selected.data();
        return choose;
    }
    void attend(Primitives& backend, const Weights& w, const Chunk& x) {
        selected.assign(static_cast<std::size_t>(x.count * kTopK), -1);
        if (shape.indexer) {
            constexpr int kBlocks = 4, kBlockSize = 3;
            auto q = x.index_q;
            auto choose = choice(x, q);
            candidates.assign(static_cast<std::size_t>(x.count * kBlocks), -1);
            choose.candidates = {candidates.data(), kBlocks, kBlockSize};
            choose.make_candidates = true;
            backend.index({&choose, 1});
            if (shape.keys_of_rows) {  // another indexer, which keeps to them
                q = x.index_q;
                std::reverse(q.begin(), q.end());
                choose = choice(x, q);
                choose.candidates = {candidates.data(), kBlocks, kBlockSize};
                backend.index({&choose, 1});
            }
        }
        auto q = x.q;
        out.resize(q.size());
        AttendCall call;
        call.start = x.start, call.rows = x.count;
        call.q = q.data(), call.out = out.data(), call.rotary = x.angles.view, call.heads = kHeads;
        call.window_format = window_format, call.compressed_format = row_format;
        call.window_size = 128, call.window = ring_of_window();
        call.window_first = x.count % 2 ? 0 : x.start / 2;  // the window may hold fewer rows
        call.ratio = shape.ratio, call.compressed = paged();
        if (shape.indexer) call.selected = selected.data();
        call.top_k = kTopK, call.sinks = w.sinks.data();
        backend.attend({&call, 1});
    }
    std::vector<float> pooled(std::int64_t tokens) const {
        std::vector<float> values;
        for (std::int64_t g = 0; shape.ratio && g < tokens / shape.ratio; ++g) {
            values.resize(values.size() + kSize);
            decode_row(row_format, paged().row(g), values.data() + values.size() - kSize);
        }
        return values;
    }
};

std::ptrdiff_t different_bytes(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), std::ptrdiff_t(0), std::plus<>(),
                              std::not_equal_to<>());
}

TEST_P(CpuAttentionTest, CompressorIndexerAndAttention) {
    auto cpu = backend();
    for (const Shape& shape : kShapes) {
        SCOPED_TRACE(testing::Message() << "ratio " << shape.ratio << ", keys of rows " << shape.keys_of_rows
                                        << ", rounds " << shape.rounds());
        const bool rounds = shape.rounds();
        Layer a(shape), b(shape);
        const Weights w{random.vector(Layer::kSize), random.vector(Layer::kHeads), random.vector(32),
                        random.vector(std::int64_t(std::max(shape.ratio, 1)) * a.width())};
        std::int64_t start = 0;
        for (int count : {1, 2, 5, 130, 1, 60, 64}) {
            const std::int64_t n = count;
            const Chunk x{start,
                          count,
                          Angles(count, 32, random),
                          random.vector(n * Layer::kSize),
                          random.vector(n * a.width()),
                          random.vector(n * a.width()),
                          random.vector(n * Layer::kHeads * Layer::kSize, 0.3f),
                          random.vector(n * 2 * Layer::kSize),
                          random.vector(n * 2)};
            a.remember(*reference, w, x);
            b.remember(*cpu, w, x);
            // One step of FP4 is so large that a border of rounding would change the choice.
            if (shape.indexer && rounds) {
                ASSERT_LE(different_bytes(a.keys, b.keys), 2 + a.keys.size() / 1000);
                std::copy(a.keys.begin(), a.keys.end(), b.keys.begin());
            }
            a.attend(*reference, w, x);
            b.attend(*cpu, w, x);
            start += count;
            const float step = shape.rows == Kind::fp4_16 ? 0.6f : 0.07f;  // of rounding
            expect_close(a.pooled(start), b.pooled(start), rounds ? step : 3e-6f);
            EXPECT_EQ(a.candidates, b.candidates);
            EXPECT_EQ(a.selected, b.selected);
            expect_close(a.out, b.out, rounds ? 0.05f : 3e-6f);
            if (rounds) {  // borders of rounding must not add up
                std::copy(a.window.begin(), a.window.end(), b.window.begin());
                std::copy(a.rows.begin(), a.rows.end(), b.rows.begin());
            }
        }
    }
}

// Of the 40 rows the first 15 see all compressed rows, the others have chosen some.
TEST_P(CpuAttentionTest, AttentionOfARowDoesNotDependOnItsBatch) {
    auto cpu = backend();
    constexpr int kRows = 40, kHeads = 8, kSize = 64, kTop = 28, kFirst = 100, kRow = kHeads * kSize;
    RowFormat format{RowFormat::Kind::f32, kSize, 32};
    auto window = random.vector(256 * kSize), compressed = random.vector(64 * kSize);
    auto sinks = random.vector(kHeads), q = random.vector(kRows * kRow);
    RingView ring{reinterpret_cast<std::byte*>(window.data()), 256, format.bytes()};
    std::byte* page = reinterpret_cast<std::byte*>(compressed.data());
    const PagedView paged{&page, 4, format.bytes()};
    std::vector<std::int32_t> selected;
    for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < kTop; ++i) selected.push_back(i < r % kTop ? i : i - kTop + (kFirst + r + 1) / 4);
    Angles angles(kRows, 16, random);
    for (int ratio : {0, 4})
        for (bool choose : {false, true}) {
            std::vector<float> batch(q.size()), alone(kRow);
            AttendCall call{
                kFirst, kRows,       q.data(), batch.data(), angles.view,
                kHeads, format,      format,   128,          ring,
                0,      false,       ratio,    paged,        choose && ratio ? selected.data() : nullptr,
                kTop,   sinks.data()};
            cpu->attend({&call, 1});
            for (int r = 0; r < kRows; ++r) {
                AttendCall one = call;
                one.start += r, one.rows = 1, one.q += r * kRow, one.out = alone.data();
                one.rotary = {angles.view.cosine + r * 16, angles.view.sine + r * 16, 16};
                if (one.selected) one.selected += r * kTop;
                cpu->attend({&one, 1});
                for (int i = 0; i < kRow; ++i)
                    ASSERT_EQ(alone[i], batch[r * kRow + i]) << ratio << choose << r;
            }
        }
}

// The work of a step does not grow with the rows that the indexer left out: they are not even read.
TEST_P(CpuAttentionTest, RowsThatWereNotSelectedAreNotRead) {
    auto cpu = backend();
    RowFormat format{RowFormat::Kind::f32, 64, 32};
    constexpr int kRows = 500, kTop = 7;
    auto window = random.vector(256 * 64), sinks = random.vector(8), q = random.vector(8 * 64);
    auto rows = random.vector(512 * 64);
    std::vector<std::int32_t> selected = {0, 3, 63, 64, 200, 201, 499};
    std::vector<std::byte*> pages;
    for (int p = 0; p < 8; ++p) pages.push_back(reinterpret_cast<std::byte*>(rows.data() + p * 64 * 64));
    Angles angles(1, 16, random);
    RingView ring{reinterpret_cast<std::byte*>(window.data()), 256, format.bytes()};
    std::vector<float> out(q.size()), poisoned(q.size());
    AttendCall call{
        4 * kRows,       1,    q.data(),    out.data(), angles.view, 8, format,
        format,          128,  ring,        0,          false,       4, {pages.data(), 4, format.bytes()},
        selected.data(), kTop, sinks.data()};
    cpu->attend({&call, 1});
    for (int r = 0; r < 512; ++r)
        if (std::find(selected.begin(), selected.end(), r) == selected.end())
            std::fill_n(rows.begin() + r * 64, 64, std::nanf(""));
    call.out = poisoned.data();
    cpu->attend({&call, 1});
    EXPECT_EQ(out, poisoned);
}

}  // namespace
}  // namespace cachalot
