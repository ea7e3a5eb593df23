// Products and experts that stream their weights, against the scalar reference with the same rounded inputs.
#include <cmath>

#include "cuda/card.h"
#include "kernels/cuda/stream_experts.h"
#include "kernels/cuda/stream_product.h"
#include "kernels/primitives.h"

namespace cachalot {
namespace {

using test::card;
using test::card_handle;
using test::expect_near;
using test::grids_on_card;
using test::MatrixOnCard;
using test::OnCard;
using test::RandomData;
using test::RandomMatrix;
using test::size;

#define CACHALOT_NEEDS_STREAMS() \
    CACHALOT_NEEDS_CARD();       \
    if (card_of(*card())->compute < 90) GTEST_SKIP() << "the card has no copy engine"

// As rounded_rows.cuh.
std::vector<float> rounded(std::vector<float> x) {
    for (std::size_t g = 0; g < x.size(); g += 32) {
        float largest = 0;
        for (std::size_t i = g; i < g + 32; ++i) largest = std::max(largest, std::fabs(x[i]));
        const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
        for (std::size_t i = g; i < g + 32; ++i) x[i] = std::nearbyint(x[i] * inverse) * scale;
    }
    return x;
}

struct Case {
    const char* name;
    std::int64_t columns;
    std::vector<std::pair<DType, std::int64_t>> matrices;  // type, rows
    bool own_inputs = false;                               // each matrix has its own x
};

const Case kCases[] = {
    {"front", 4096, {{DType::q8_0, 1024}, {DType::q8_0, 512}, {DType::bf16, 260}, {DType::bf16, 64}}},
    {"narrow", 1024, {{DType::q8_0, 4099}, {DType::q8_0, 1000}}},
    {"odd", 1536, {{DType::q8_0, 777}}},
    {"wide", 8192, {{DType::q8_0, 530}}},
    {"groups", 4096, {{DType::q8_0, 100}, {DType::q8_0, 100}, {DType::q8_0, 100}, {DType::q8_0, 100}}, true},
    {"few", 512, {{DType::q8_0, 3}, {DType::bf16, 1}}},
};

class CardStreams : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Products, CardStreams, testing::ValuesIn(kCases),
                         [](const auto& param) { return param.param.name; });

TEST_P(CardStreams, ProductsAreThoseOfTheReferenceForAnyNumberOfRows) {
    CACHALOT_NEEDS_STREAMS();
    const Case& c = GetParam();
    RandomData random(51);
    const std::int64_t K = c.columns, inputs = c.own_inputs ? std::int64_t(c.matrices.size()) : 1;
    std::vector<RandomMatrix> weights;
    weights.reserve(c.matrices.size());
    std::int64_t outputs = 0;
    for (const auto& [type, rows] : c.matrices) {
        weights.emplace_back(type, rows, K, random);
        outputs += rows;
    }
    std::vector<MatrixOnCard> there;
    for (const auto& w : weights) there.emplace_back(w);
    const auto x = random.vector(4 * inputs * K);
    const auto x_rounded = rounded(x);
    std::vector<float> alone;
    for (const int rows : {1, 2, 3, 4}) {
        const OnCard<float> x_there(x), y_there(size(rows * outputs));
        std::vector<float> expected(size(rows * outputs));
        std::vector<Projection> on_card;
        std::int64_t at = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) {
            const Matrix& w = weights[i].matrix;
            const std::int64_t input = c.own_inputs ? std::int64_t(i) * K : 0;
            const auto& values = w.dtype == DType::q8_0 ? x_rounded : x;
            const Projection on_host{&w, values.data() + input, inputs * K, expected.data() + at, outputs};
            make_reference_primitives()->project({&on_host, 1}, rows);
            on_card.push_back({&there[i].matrix(), x_there.address() + input, inputs * K,
                               y_there.address() + at, outputs, w.dtype == DType::bf16});
            at += w.rows;
        }
        ASSERT_TRUE(cuda::can_stream(on_card, rows, *card_of(*card())));
        cuda::project_streamed(on_card, rows, *card_of(*card()), card_handle());
        const auto actual = y_there.fetch();
        expect_near(actual, expected, 1e-5);
        const std::vector<float> first(actual.begin(), actual.begin() + outputs);
        if (alone.empty()) alone = first;
        EXPECT_EQ(first, alone) << rows;  // bit for bit
    }
}

TEST(CardStreams, WhatCannotBeStreamedIsSaid) {
    CACHALOT_NEEDS_STREAMS();
    RandomData random(52);
    const CudaCard& it = *card_of(*card());
    const OnCard<float> x(size(4096)), y(size(64));
    const auto can = [&](DType type, std::int64_t columns, bool float_inputs, int rows) {
        const RandomMatrix w(type, 16, columns, random);
        const MatrixOnCard there(w);
        const Projection p{&there.matrix(), x.address(), columns, y.address(), 16, float_inputs};
        return cuda::can_stream({&p, 1}, rows, it);
    };
    EXPECT_TRUE(can(DType::q8_0, 1024, false, 4));
    EXPECT_FALSE(can(DType::q8_0, 1024, true, 1));  // exact
    EXPECT_TRUE(can(DType::bf16, 1024, true, 1));
    EXPECT_FALSE(can(DType::q8_0, 1024, false, 5));
    EXPECT_FALSE(can(DType::q8_0, 1024 + 32, false, 1));
    EXPECT_FALSE(can(DType::q4_k, 1024, false, 1));
}

struct ExpertTypes {
    const char* name;
    DType inner, down;
    std::int64_t H, I;
};
const ExpertTypes kExpertTypes[] = {
    {"mxfp4", DType::mxfp4, DType::mxfp4, 4096, 2048},
    {"two_bits", DType::iq2_xxs, DType::q2_k, 2048, 1024},
    {"q8_0", DType::q8_0, DType::q8_0, 2048, 512},
    {"small", DType::mxfp4, DType::q2_k, 512, 1024},
};

class CardExpertStreams : public testing::TestWithParam<ExpertTypes> {};
INSTANTIATE_TEST_SUITE_P(Types, CardExpertStreams, testing::ValuesIn(kExpertTypes),
                         [](const auto& param) { return param.param.name; });

// down(rounded(weight * silu(min(gate x, limit)) * clamp(up x))), the reference's steps with roundings
// between.
std::vector<float> expert(const ExpertWeights& e, const std::vector<float>& x, float weight, float limit) {
    const auto reference = make_reference_primitives();
    std::vector<float> gate(size(e.gate.rows)), up(gate), y(size(e.down.rows));
    const Projection from_x[] = {{&e.gate, x.data(), e.gate.columns, gate.data(), e.gate.rows},
                                 {&e.up, x.data(), e.up.columns, up.data(), e.up.rows}};
    reference->project(from_x, 1);
    for (std::size_t i = 0; i < gate.size(); ++i) {
        const float g = std::min(gate[i], limit), u = std::clamp(up[i], -limit, limit);
        gate[i] = weight * (g / (1.0f + std::exp(-g))) * u;
    }
    gate = rounded(gate);
    const Projection down{&e.down, gate.data(), e.down.columns, y.data(), e.down.rows};
    reference->project({&down, 1}, 1);
    return y;
}

TEST_P(CardExpertStreams, AreThoseOfTheReferenceForAnyNumberOfRows) {
    CACHALOT_NEEDS_STREAMS();
    const auto& [name, inner_type, down_type, H, I] = GetParam();
    constexpr int kExperts = 4, kTop = 3;
    RandomData random(61);
    std::vector<RandomMatrix> matrices;
    matrices.reserve(3 * (kExperts + 1));
    for (int e = 0; e <= kExperts; ++e) {
        const bool shared = e == kExperts;
        for (int part = 0; part < 2; ++part)
            matrices.emplace_back(shared ? DType::q8_0 : inner_type, I, H, random);
        matrices.emplace_back(shared ? DType::q8_0 : down_type, H, I, random);
    }
    std::vector<MatrixOnCard> there;
    for (const auto& m : matrices) there.emplace_back(m);
    std::vector<ExpertWeights> on_host, on_card;
    for (std::size_t i = 0; i < matrices.size(); i += 3) {
        on_host.push_back({matrices[i].matrix, matrices[i + 1].matrix, matrices[i + 2].matrix});
        on_card.push_back({there[i].matrix(), there[i + 1].matrix(), there[i + 2].matrix()});
    }
    const auto x = random.vector(4 * H, 0.05f);
    const std::vector<std::int32_t> ids = {2, 0, 3, 1, 0, 2, 3, 2, 1, 0, 1, 3};
    std::vector<float> weights;
    for (std::size_t i = 0; i < ids.size(); ++i)
        weights.push_back(0.1f * static_cast<float>(random.integer(1, 9)));
    std::vector<float> expected;
    for (int r = 0; r < 4; ++r) {
        const auto row = rounded({x.begin() + r * H, x.begin() + (r + 1) * H});
        std::vector<float> sum = expert(on_host.back(), row, 1.0f, 3.0f);
        for (int k = 0; k < kTop; ++k) {
            const auto at = size(r * kTop + k);
            const auto one = expert(on_host[size(ids[at])], row, weights[at], 2.0f);
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
        }
        expected.insert(expected.end(), sum.begin(), sum.end());
    }
    const OnCard<float> x_there(x), weights_there(weights);
    const OnCard<std::int32_t> ids_there(ids);
    const OnCard<ExpertWeights> table(on_card);
    std::vector<float> alone;
    for (const int rows : {1, 2, 4}) {
        const OnCard<float> y(size(rows * H)), inner(size(rows * (kTop + 1) * I));
        cuda::ExpertsCall call;
        call.rows = rows, call.top_k = kTop;
        call.x = x_there.address(), call.y = y.address(), call.inner = inner.address();
        call.ids = ids_there.address(), call.weights = weights_there.address();
        call.routed = table.address(), call.shared = on_card.back();
        call.limit = 2.0f, call.shared_limit = 3.0f, call.grids = grids_on_card();
        const CudaCard& it = *card_of(*card());
        ASSERT_TRUE(cuda::can_stream_experts(on_card.front(), call.shared, rows, kTop, it));
        cuda::experts_streamed(call, on_card.front(), it, card_handle());
        const auto actual = y.fetch();
        // A value of the inner rows next to a border is rounded to either side.
        expect_near(actual, std::span(expected).first(actual.size()), 2e-3);
        const std::vector<float> first(actual.begin(), actual.begin() + H);
        if (alone.empty()) alone = first;
        EXPECT_EQ(first, alone) << rows;
    }
}

}  // namespace
}  // namespace cachalot
