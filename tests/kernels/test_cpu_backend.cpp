// Every operation of the CPU backend but products against the scalar reference, on every instruction set of
// this machine.
#include <numeric>

#include "kernels/cpu_backend_test.h"

namespace cachalot {
namespace {

using test::expect_close;
using test::RandomData;
using test::RandomMatrix;

class CpuBackendTest : public test::CpuBackendTest {};
INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendTest, testing::ValuesIn(test::tested_sets()),
                         [](const auto& param) { return param.param; });

TEST_P(CpuBackendTest, TheForcedInstructionSetIsActive) {
    if (GetParam().ends_with("_emulated")) GTEST_SKIP() << "not one that can be forced";
    EXPECT_EQ(std::string(backend()->name()), "cpu " + GetParam() + " x3");
    ::setenv("CACHALOT_ISA", GetParam().c_str(), 1);
    EXPECT_EQ(std::string(make_cpu_backend({1, Precision::fast, {}})->name()), "cpu " + GetParam() + " x1");
    ::unsetenv("CACHALOT_ISA");
}

TEST(CpuBackend, TheBestInstructionSetIsTheDefault) {
    std::string best;
    for (const auto& set : cpu::instruction_sets())
        if (best.empty() && set.available && set.by_default) best = set.name;
    ::unsetenv("CACHALOT_ISA");
    EXPECT_EQ(std::string(make_cpu_backend({1, Precision::fast, {}})->name()), "cpu " + best + " x1");
}

TEST(CpuBackend, AnUnknownInstructionSetIsAnError) {
    EXPECT_THROW(make_cpu_backend({1, Precision::fast, "mmx"}), Error);
}

TEST_P(CpuBackendTest, Norms) {
    auto cpu = backend();
    for (int n : {32, 128, 512}) {
        auto x = random.vector(3 * n, 3.0f), w = random.vector(n), y = x;
        reference->rms_norm(x.data(), w.data(), 1e-6f, 3, n);
        cpu->rms_norm(y.data(), w.data(), 1e-6f, 3, n);
        expect_close(x, y, 1e-6f);
    }
}

// Cosines and sines of arbitrary angles for `rows` rows.
struct Angles {
    std::vector<float> cosine, sine;
    RotaryView view;
    Angles(int rows, int half, RandomData& random) {
        for (int i = 0; i < rows * half; ++i) {
            float angle = random.normal(10);
            cosine.push_back(std::cos(angle));
            sine.push_back(std::sin(angle));
        }
        view = {cosine.data(), sine.data(), half};
    }
};

TEST_P(CpuBackendTest, QueryHeads) {
    auto cpu = backend();
    Angles angles(4, 32, random);
    auto q = random.vector(4 * 3 * 128), r = q;
    reference->query_heads(q.data(), 1e-6f, angles.view, 4, 3, 128);
    cpu->query_heads(r.data(), 1e-6f, angles.view, 4, 3, 128);
    expect_close(q, r, 1e-6f);
}

TEST_P(CpuBackendTest, HyperConnections) {
    auto cpu = backend();
    HyperConnectionParams params{96, 20, 1e-6f, 1e-6f};
    RandomMatrix fn(DType::f32, 24, 4 * 96, random), head_fn(DType::f16, 4, 4 * 96, random);
    auto base = random.vector(24), scale = random.vector(3), norm = random.vector(96);
    for (int rows : {1, 2, 9, 100}) {
        auto streams = random.vector(rows * 4 * 96), other = streams;
        std::vector<float> x[2], post[2], comb[2];
        for (int i = 0; i < 2; ++i) {
            x[i].resize(static_cast<std::size_t>(rows * 96));
            post[i].resize(static_cast<std::size_t>(rows * 4));
            comb[i].resize(static_cast<std::size_t>(rows * 16));
            auto& b = i ? *cpu : *reference;
            auto& s = i ? other : streams;
            b.hyper_connection_pre({fn.matrix, base.data(), scale.data()}, params, norm.data(), s.data(),
                                   rows, x[i].data(), post[i].data(), comb[i].data());
            b.hyper_connection_post(params, x[i].data(), post[i].data(), comb[i].data(), s.data(), rows);
        }
        expect_close(x[0], x[1], 3e-6f);
        expect_close(post[0], post[1], 3e-6f);
        expect_close(comb[0], comb[1], 3e-6f);
        expect_close(streams, other, 3e-6f);
        // Sinkhorn has converged: columns sum to one, rows nearly.
        for (int r = 0; r < rows; ++r)
            for (int k = 0; k < 4; ++k) {
                const float* c = comb[1].data() + r * 16;
                EXPECT_NEAR(c[k] + c[4 + k] + c[8 + k] + c[12 + k], 1.0f, 1e-5f);
                EXPECT_NEAR(c[4 * k] + c[4 * k + 1] + c[4 * k + 2] + c[4 * k + 3], 1.0f, 0.05f);
            }
        for (int i = 0; i < 2; ++i)
            (i ? *cpu : *reference)
                .hyper_connection_head({head_fn.matrix, base.data(), scale.data()}, params, norm.data(),
                                       streams.data(), rows, x[i].data());
        expect_close(x[0], x[1], 3e-6f);
    }
}

TEST_P(CpuBackendTest, LatentRowsAreEncodedAlike) {
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

// Compressor, indexer and attention of one layer over one sequence, in chunks. `Layer` owns the state.
struct Layer {
    static constexpr int kSize = 128, kRotary = 64, kHeads = 5, kTopK = 6;
    int ratio;
    RowFormat format, key_format;  // of the indexer's keys: FP4 where the rest is FP8
    std::vector<std::byte> window, rows, keys;
    std::vector<float> kv, score;
    std::vector<std::byte*> pages, key_pages;

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
    PagedView paged() const { return {pages.data(), 6, format.bytes()}; }
    PagedView paged_keys() const { return {key_pages.data(), 6, key_format.bytes()}; }
};

std::ptrdiff_t different_bytes(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), std::ptrdiff_t(0), std::plus<>(),
                              std::not_equal_to<>());
}

TEST_P(CpuBackendTest, CompressorIndexerAndAttention) {
    auto cpu = backend();
    for (int ratio : {0, 4, 128})
        for (auto kind : {RowFormat::Kind::f32, RowFormat::Kind::fp8_kv}) {
            SCOPED_TRACE(testing::Message() << "ratio " << ratio << ", format " << static_cast<int>(kind));
            RowFormat format{kind, Layer::kSize, Layer::kRotary};
            Layer a(ratio, format), b(ratio, format);
            auto norm = random.vector(Layer::kSize), sinks = random.vector(Layer::kHeads);
            auto frequencies = random.vector(32),
                 ape = random.vector(std::int64_t(std::max(ratio, 1)) * a.width());
            std::int64_t start = 0;
            for (int rows : {1, 2, 5, 130, 1, 60, 64}) {
                Angles angles(rows, 32, random);
                auto latent = random.vector(std::int64_t(rows) * Layer::kSize);
                auto kv = random.vector(std::int64_t(rows) * a.width()),
                     gate = random.vector(std::int64_t(rows) * a.width());
                auto q = random.vector(std::int64_t(rows) * Layer::kHeads * Layer::kSize, 0.3f);
                auto index_q = random.vector(std::int64_t(rows) * 2 * Layer::kSize);
                auto index_weights = random.vector(std::int64_t(rows) * 2);
                std::vector<float> out[2];
                std::vector<std::int32_t> selected[2];
                for (int i = 0; i < 2; ++i) {
                    auto& backend = i ? *cpu : *reference;
                    auto& layer = i ? b : a;
                    auto iq = index_q;
                    RingView window{layer.window.data(), 512, format.bytes()};
                    LatentCall store{start, rows,        latent.data(), norm.data(),
                                     1e-6f, angles.view, format,        window};
                    backend.latent({&store, 1});
                    selected[i].assign(static_cast<std::size_t>(rows * Layer::kTopK), -1);
                    if (ratio) {
                        CompressCall pool{start,
                                          rows,
                                          kv.data(),
                                          gate.data(),
                                          ape.data(),
                                          layer.width(),
                                          ratio,
                                          ratio == 4,
                                          layer.ring(layer.kv),
                                          layer.ring(layer.score),
                                          norm.data(),
                                          1e-6f,
                                          frequencies.data(),
                                          false,
                                          format,
                                          layer.paged()};
                        backend.compress({&pool, 1});
                        pool.hadamard = true;
                        pool.format = layer.key_format;
                        pool.out = layer.paged_keys();
                        backend.compress({&pool, 1});
                    }
                    if (ratio == 4) {
                        // One step of FP4 is so large that a border of rounding would change the choice.
                        if (i && format.kind == RowFormat::Kind::fp8_kv) {
                            ASSERT_LE(different_bytes(a.keys, b.keys), 2);
                            std::copy(a.keys.begin(), a.keys.end(), b.keys.begin());
                        }
                        IndexCall choose{start,
                                         rows,
                                         iq.data(),
                                         index_weights.data(),
                                         angles.view,
                                         2,
                                         ratio,
                                         layer.key_format,
                                         layer.paged_keys(),
                                         Layer::kTopK,
                                         selected[i].data()};
                        backend.index({&choose, 1});
                    }
                    out[i].resize(q.size());
                    AttendCall attend{start,         rows,          q.data(),
                                      out[i].data(), angles.view,   Layer::kHeads,
                                      format,        128,           window,
                                      ratio,         layer.paged(), ratio == 4 ? selected[i].data() : nullptr,
                                      Layer::kTopK,  sinks.data()};
                    backend.attend({&attend, 1});
                }
                start += rows;
                std::vector<float> pooled[2];
                for (std::int64_t g = 0; ratio && g < start / ratio; ++g)
                    for (int i = 0; i < 2; ++i) {
                        pooled[i].resize(pooled[i].size() + Layer::kSize);
                        decode_row(format, (i ? b : a).paged().row(g),
                                   pooled[i].data() + pooled[i].size() - Layer::kSize);
                    }
                bool rounds = kind != RowFormat::Kind::f32;
                expect_close(pooled[0], pooled[1], rounds ? 0.07f : 3e-6f);
                EXPECT_EQ(selected[0], selected[1]);
                expect_close(out[0], out[1], rounds ? 0.05f : 3e-6f);
                if (rounds) b.window = a.window, b.rows = a.rows;  // borders of rounding must not add up
            }
        }
}

// Of the 40 rows the first 15 see all compressed rows, the others have chosen some.
TEST_P(CpuBackendTest, AttentionOfARowDoesNotDependOnItsBatch) {
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
TEST_P(CpuBackendTest, RowsThatWereNotSelectedAreNotRead) {
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

TEST_P(CpuBackendTest, RouterAndExperts) {
    constexpr int kHidden = 64, kInner = 96, kExperts = 9, kTop = 3;
    for (DType type : {DType::mxfp4, DType::fp4_pairs, DType::bf16}) {
        std::vector<RandomMatrix> matrices;
        matrices.reserve(3 * (kExperts + 1));
        std::vector<ExpertWeights> experts;
        auto make = [&](DType t) {
            for (int i = 0; i < 2; ++i) matrices.emplace_back(t, kInner, kHidden, random);
            matrices.emplace_back(t, kHidden, kInner, random);
            auto* m = &matrices[matrices.size() - 3];
            return ExpertWeights{m[0].matrix, m[1].matrix, m[2].matrix};
        };
        for (int e = 0; e < kExperts; ++e) experts.push_back(make(type));
        ExpertWeights shared = make(DType::bf16);
        ExpertsInMemory supply(experts);
        auto bias = random.vector(kExperts);
        std::vector<std::int32_t> table;
        for (int i = 0; i < 20 * kTop; ++i) table.push_back(random.integer(0, kExperts - 1));
        for (int rows : {1, 4, 50})
            for (bool hash : {false, true}) {
                auto logits = random.vector(rows * kExperts, 5), x = random.vector(rows * kHidden, 4);
                std::vector<std::int32_t> tokens, ids[2];
                for (int r = 0; r < rows; ++r) tokens.push_back(random.integer(0, 19));
                std::vector<float> weights[2], y[2];
                auto cpu = backend();
                for (int i = 0; i < 2; ++i) {
                    auto& backend = i ? *cpu : *reference;
                    ids[i].resize(static_cast<std::size_t>(rows * kTop));
                    weights[i].resize(ids[i].size());
                    y[i].resize(static_cast<std::size_t>(rows * kHidden));
                    backend.route({rows, logits.data(), kExperts, kTop, hash ? nullptr : bias.data(),
                                   hash ? table.data() : nullptr, tokens.data(), 1.5f, ids[i].data(),
                                   weights[i].data()});
                    backend.experts({rows, x.data(), y[i].data(), kTop, ids[i].data(), weights[i].data(),
                                     &supply, &shared, 2.0f, 1.5f});
                }
                EXPECT_EQ(ids[0], ids[1]);
                expect_close(weights[0], weights[1], 1e-6f);
                expect_close(y[0], y[1], 5e-6f);
            }
    }
}

// Hands experts out in any order, a few at a time, the first time none.
class ScatteredExperts final : public ExpertSupply {
  public:
    ScatteredExperts(std::span<const ExpertWeights> experts, RandomData& random)
        : experts_(experts), random_(random) {}

    const ExpertWeights& layout(std::int32_t e) const override {
        return experts_[static_cast<std::size_t>(e)];
    }
    void request(std::span<const std::int32_t> experts, std::span<const std::int32_t> rows) override {
        asked_.assign(experts.begin(), experts.end());
        counts.assign(rows.begin(), rows.end());
        given_.assign(asked_.size(), false);
        calls_ = 0;
    }
    std::size_t next(std::span<const ExpertWeights*> weights) override {
        std::fill(weights.begin(), weights.end(), nullptr);
        if (calls_++ == 0) return 0;
        std::size_t count = 0;
        while (count == 0)
            for (std::size_t i = 0; i < asked_.size(); ++i)
                if (!given_[i] && random_.integer(0, 2) == 0) {
                    given_[i] = true;
                    weights[i] = &layout(asked_[i]);
                    ++count;
                }
        return count;
    }

    std::vector<std::int32_t> counts;

  private:
    std::span<const ExpertWeights> experts_;
    RandomData& random_;
    std::vector<std::int32_t> asked_;
    std::vector<bool> given_;
    int calls_ = 0;
};

TEST_P(CpuBackendTest, ExpertsThatArriveInAnyOrderGiveTheSameBits) {
    constexpr int kHidden = 64, kInner = 96, kExperts = 9, kTop = 3;
    for (DType type : {DType::mxfp4, DType::bf16}) {
        std::vector<RandomMatrix> matrices;
        matrices.reserve(3 * (kExperts + 1));
        std::vector<ExpertWeights> experts;
        for (int e = 0; e <= kExperts; ++e) {
            for (int i = 0; i < 2; ++i) matrices.emplace_back(type, kInner, kHidden, random);
            matrices.emplace_back(type, kHidden, kInner, random);
            auto* m = &matrices[matrices.size() - 3];
            experts.push_back({m[0].matrix, m[1].matrix, m[2].matrix});
        }
        const ExpertWeights shared = experts.back();
        experts.pop_back();
        ExpertsInMemory at_once(experts);
        ScatteredExperts scattered(experts, random);
        auto cpu = backend(Precision::fast);
        for (int rows : {1, 4, 50}) {
            auto x = random.vector(rows * kHidden, 4), weights = random.vector(rows * kTop);
            std::vector<std::int32_t> ids;
            for (int r = 0; r < rows; ++r)
                for (int i = 0; i < kTop; ++i) ids.push_back((random.integer(0, 2) + 3 * i + r) % kExperts);
            for (Backend* b : {reference.get(), cpu.get()}) {
                std::vector<float> y(x.size()), expected(x.size());
                ExpertsCall call{rows,           x.data(), expected.data(), kTop, ids.data(),
                                 weights.data(), &at_once, &shared,         2.0f, 1.5f};
                const auto before = b->synchronizations();
                b->experts(call);
                // Gathering, gate and up, rounding, down, the sum.
                EXPECT_LE(b->synchronizations() - before, 5);
                call.y = y.data();
                call.routed = &scattered;
                b->experts(call);
                EXPECT_EQ(y, expected) << rows;
                EXPECT_EQ(std::accumulate(scattered.counts.begin(), scattered.counts.end(), 0), rows * kTop);
            }
        }
    }
}

TEST_P(CpuBackendTest, BrokenWeightsGiveBrokenNumbersNotCrashes) {
    auto cpu = backend(Precision::fast);
    float nan = std::nanf("");
    std::vector<float> logits(9, nan), bias(9, 0.0f), weights(3);
    std::vector<std::int32_t> ids(3, -1), token(1, 0);
    cpu->route(
        {1, logits.data(), 9, 3, bias.data(), nullptr, token.data(), 1.0f, ids.data(), weights.data()});
    for (auto id : ids) EXPECT_TRUE(id >= 0 && id < 9);
    RandomMatrix w(DType::mxfp4, 8, 64, random);
    std::vector<float> x(64, nan), y(8);
    Projection p{&w.matrix, x.data(), 64, y.data(), 8};
    cpu->project({&p, 1}, 1);
    RowFormat format{RowFormat::Kind::fp8_kv, 128, 64};
    std::vector<std::byte> row(static_cast<std::size_t>(format.bytes()));
    std::vector<float> values(128, nan);
    encode_row(format, values.data(), row.data());
    values.assign(128, HUGE_VALF);
    encode_row(format, values.data(), row.data());
}

}  // namespace
}  // namespace cachalot
