// Operations on single rows on a card against the scalar reference.
#include <cmath>

#include "cuda/card.h"
#include "kernels/cuda/rows.h"
#include "kernels/primitives.h"

namespace cachalot {
namespace {

using test::card_handle;
using test::expect_near;
using test::grids_on_card;
using test::MatrixOnCard;
using test::OnCard;
using test::RandomData;
using test::RandomMatrix;
using test::size;

TEST(CardRows, AnglesAreThoseOfTheHostAtAnyDepth) {
    CACHALOT_NEEDS_CARD();
    const std::vector<std::int64_t> positions = {0, 1, 2, 4095, 65535, 1048575};
    const std::vector<float> plain = {1.0f, 0.1f, 0.003f}, compressed = {0.9f, 0.03f, 1e-6f};
    const OnCard<std::int64_t> there(positions);
    const OnCard<float> f0(plain), f1(compressed);
    const OnCard<float> c0(size(18)), s0(size(18)), c1(size(18)), s1(size(18));
    cuda::BatchView batch;
    batch.positions = there.address();
    batch.rows = 6;
    cuda::rotary_tables(batch, {f0.address(), c0.address(), s0.address()},
                        {f1.address(), c1.address(), s1.address()}, 3, card_handle());
    const auto cosine0 = c0.fetch(), sine0 = s0.fetch(), cosine1 = c1.fetch(), sine1 = s1.fetch();
    for (int i = 0; i < 18; ++i) {
        const auto position = static_cast<float>(positions[size(i / 3)]);
        const float a = position * plain[size(i % 3)], b = position * compressed[size(i % 3)];
        EXPECT_NEAR(cosine0[size(i)], std::cos(a), 2e-7);
        EXPECT_NEAR(sine0[size(i)], std::sin(a), 2e-7);
        EXPECT_NEAR(cosine1[size(i)], std::cos(b), 2e-7);
        EXPECT_NEAR(sine1[size(i)], std::sin(b), 2e-7);
    }
}

TEST(CardRows, EmbeddingsAreRepeatedInTheStreams) {
    CACHALOT_NEEDS_CARD();
    RandomData random(1);
    const std::vector<std::int32_t> tokens = {3, 0, 10, 3};
    for (const DType type : {DType::bf16, DType::q8_0, DType::q6_k}) {
        const RandomMatrix table(type, 11, 512, random);
        const MatrixOnCard there(table);
        std::vector<float> expected(tokens.size() * 4 * 512);
        make_reference_primitives()->embed(table.matrix, tokens, expected.data());
        const OnCard<std::int32_t> tokens_there(tokens);
        const OnCard<float> streams(expected.size());
        cuda::BatchView batch;
        batch.tokens = tokens_there.address();
        batch.rows = 4;
        cuda::embed(batch, there.matrix(), grids_on_card(), streams.address(), card_handle());
        expect_near(streams.fetch(), expected, 1e-7);
    }
}

TEST(CardRows, NormsAreThoseOfTheReference) {
    CACHALOT_NEEDS_CARD();
    RandomData random(2);
    for (const int n : {32, 100, 512, 1536, 4096}) {
        auto x = random.vector(3 * n, 2.0f);
        const auto weight = random.vector(n);
        const OnCard<float> there(x), weight_there(weight);
        make_reference_primitives()->rms_norm(x.data(), weight.data(), 1e-6f, 3, n);
        cuda::rms_norm(there.address(), weight_there.address(), 1e-6f, 3, n, card_handle());
        expect_near(there.fetch(), x, 1e-6);
    }
}

TEST(CardRows, QueriesAreNormalisedAndRotated) {
    CACHALOT_NEEDS_CARD();
    RandomData random(3);
    for (const bool normalise : {true, false})
        for (const auto& [heads, D, half] : {std::tuple{3, 128, 16}, {8, 512, 32}, {1, 64, 32}}) {
            constexpr int kRows = 4;
            auto q = random.vector(kRows * heads * D);
            std::vector<float> cosine, sine;
            for (int i = 0; i < kRows * half; ++i) {
                const float angle = random.normal(10.0f);
                cosine.push_back(std::cos(angle));
                sine.push_back(std::sin(angle));
            }
            const OnCard<float> there(q), cosine_there(cosine), sine_there(sine);
            make_reference_primitives()->query_heads(q.data(), normalise, 1e-6f,
                                                     {cosine.data(), sine.data(), half}, kRows, heads, D);
            cuda::query_heads(there.address(), normalise, 1e-6f,
                              {cosine_there.address(), sine_there.address(), half}, kRows, heads, D,
                              card_handle());
            expect_near(there.fetch(), q, 1e-6);
        }
}

}  // namespace
}  // namespace cachalot
