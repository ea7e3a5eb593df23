// Attention and what it remembers on every instruction set of this machine, against the scalar reference.
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
    for (auto kind : {RowFormat::Kind::f32, RowFormat::Kind::fp8_kv}) {
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
            expect_close(a, b, kind == RowFormat::Kind::f32 ? 1e-6f : 0.07f);
        }
    }
}

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
    int ratio;
    RowFormat format, key_format;  // of the indexer's keys: FP4 where the rest is FP8
    std::vector<std::byte> window, rows, keys;
    std::vector<float> kv, score;
    std::vector<std::byte*> pages, key_pages;
    std::vector<float> out;  // of the last chunk
    std::vector<std::int32_t> selected;

    Layer(int r, RowFormat f) : ratio(r), format(f), key_format(f) {
        if (f.kind == RowFormat::Kind::fp8_kv) key_format.kind = RowFormat::Kind::fp4_key;
        window.resize(static_cast<std::size_t>(512 * f.bytes()));
        rows.resize(static_cast<std::size_t>(256 * f.bytes()));
        keys.resize(static_cast<std::size_t>(256 * key_format.bytes()));
        kv.resize(512 * 2 * kSize);
        score.resize(512 * 2 * kSize);
        for (int p = 0; p < 4; ++p) {
            pages.push_back(rows.data() + p * 64 * f.bytes());
            key_pages.push_back(keys.data() + p * 64 * key_format.bytes());
        }
    }
    int width() const { return ratio == 4 ? 2 * kSize : kSize; }
    RingView ring(std::vector<float>& v) const {
        return {reinterpret_cast<std::byte*>(v.data()), 512, width() * 4};
    }
    RingView ring_of_window() { return {window.data(), 512, format.bytes()}; }
    PagedView paged() const { return {pages.data(), 6, format.bytes()}; }
    PagedView paged_keys() const { return {key_pages.data(), 6, key_format.bytes()}; }

    void remember(Primitives& backend, const Weights& w, const Chunk& x) {
        LatentCall latent{x.start, x.count,       x.latent.data(), w.norm.data(),
                          1e-6f,   x.angles.view, format,          ring_of_window()};
        backend.latent({&latent, 1});
        if (!ratio) return;
        CompressCall pool{x.start,       x.count, x.kv.data(),          x.gate.data(), w.ape.data(),
                          width(),       ratio,   ratio == 4,           ring(kv),      ring(score),
                          w.norm.data(), 1e-6f,   w.frequencies.data(), false,         format,
                          paged()};
        backend.compress({&pool, 1});
        pool.hadamard = true;
        pool.format = key_format;
        pool.out = paged_keys();
        backend.compress({&pool, 1});
    }
    void attend(Primitives& backend, const Weights& w, const Chunk& x) {
        selected.assign(static_cast<std::size_t>(x.count * kTopK), -1);
        if (ratio == 4) {
            auto q = x.index_q;
            IndexCall choose{x.start,       x.count, q.data(),       x.index_weights.data(),
                             x.angles.view, 2,       ratio,          key_format,
                             paged_keys(),  kTopK,   selected.data()};
            backend.index({&choose, 1});
        }
        auto q = x.q;
        out.resize(q.size());
        AttendCall call{x.start,    x.count,       q.data(),
                        out.data(), x.angles.view, kHeads,
                        format,     128,           ring_of_window(),
                        ratio,      paged(),       ratio == 4 ? selected.data() : nullptr,
                        kTopK,      w.sinks.data()};
        backend.attend({&call, 1});
    }
    std::vector<float> pooled(std::int64_t tokens) const {
        std::vector<float> values;
        for (std::int64_t g = 0; ratio && g < tokens / ratio; ++g) {
            values.resize(values.size() + kSize);
            decode_row(format, paged().row(g), values.data() + values.size() - kSize);
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
    for (int ratio : {0, 4, 128})
        for (auto kind : {RowFormat::Kind::f32, RowFormat::Kind::fp8_kv}) {
            SCOPED_TRACE(testing::Message() << "ratio " << ratio << ", format " << static_cast<int>(kind));
            const bool rounds = kind != RowFormat::Kind::f32;
            RowFormat format{kind, Layer::kSize, Layer::kRotary};
            Layer a(ratio, format), b(ratio, format);
            const Weights w{random.vector(Layer::kSize), random.vector(Layer::kHeads), random.vector(32),
                            random.vector(std::int64_t(std::max(ratio, 1)) * a.width())};
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
                if (ratio == 4 && rounds) {
                    ASSERT_LE(different_bytes(a.keys, b.keys), 2);
                    std::copy(a.keys.begin(), a.keys.end(), b.keys.begin());
                }
                a.attend(*reference, w, x);
                b.attend(*cpu, w, x);
                start += count;
                expect_close(a.pooled(start), b.pooled(start), rounds ? 0.07f : 3e-6f);
                EXPECT_EQ(a.selected, b.selected);
                expect_close(a.out, b.out, rounds ? 0.05f : 3e-6f);
                if (rounds) b.window = a.window, b.rows = a.rows;  // borders of rounding must not add up
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
    const PagedView paged{&page, 6, format.bytes()};
    std::vector<std::int32_t> selected;
    for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < kTop; ++i) selected.push_back(i < r % kTop ? i : i - kTop + (kFirst + r + 1) / 4);
    Angles angles(kRows, 16, random);
    for (int ratio : {0, 4})
        for (bool choose : {false, true}) {
            std::vector<float> batch(q.size()), alone(kRow);
            AttendCall call{kFirst,      kRows,       q.data(), batch.data(),
                            angles.view, kHeads,      format,   128,
                            ring,        ratio,       paged,    choose && ratio ? selected.data() : nullptr,
                            kTop,        sinks.data()};
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
    AttendCall call{4 * kRows,
                    1,
                    q.data(),
                    out.data(),
                    angles.view,
                    8,
                    format,
                    128,
                    ring,
                    4,
                    {pages.data(), 6, format.bytes()},
                    selected.data(),
                    kTop,
                    sinks.data()};
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
