// Products, experts, routing and hyper-connections on a card against the scalar reference.
#include <cmath>

#include "cuda/card.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/mix.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/route.h"
#include "kernels/expert_supply.h"

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

class CardProducts : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, CardProducts, testing::ValuesIn(test::kWeightTypes),
                         [](const auto& type) { return std::string(name(type.param)); });

TEST_P(CardProducts, AreThoseOfTheReferenceForAnyNumberOfRows) {
    CACHALOT_NEEDS_CARD();
    RandomData random(3);
    const auto reference = make_reference_primitives();
    const RandomMatrix a(GetParam(), 37, 512, random), b(GetParam(), 130, 768, random);
    const MatrixOnCard a_there(a), b_there(b);
    std::vector<float> alone;  // the first row
    for (const int rows : {1, 2, 7, 8, 9, 33}) {
        RandomData same(5);
        const auto x = same.vector(33 * 1300);
        const std::int64_t stride = 1300;  // x of `a` first, that of `b` behind it
        std::vector<float> y(size(rows * 200));
        const auto calls = [&](const Matrix& first, const Matrix& second, const float* from, float* to) {
            return std::vector<Projection>{{&first, from, stride, to, 200},
                                           {&second, from + 512, stride, to + 40, 200}};
        };
        reference->project(calls(a.matrix, b.matrix, x.data(), y.data()), rows);
        const OnCard<float> x_there(x);
        const OnCard<float> y_there(y.size());
        cuda::project(calls(a_there.matrix(), b_there.matrix(), x_there.address(), y_there.address()), rows,
                      grids_on_card(), card_handle());
        auto actual = y_there.fetch();
        for (int r = 0; r < rows; ++r)  // what nobody wrote
            for (int i : {37, 38, 39, 170, 199}) EXPECT_TRUE(std::isnan(actual[size(r * 200 + i)]));
        for (std::size_t i = 0; i < y.size(); ++i)
            if (i % 200 >= 170 || (i % 200 >= 37 && i % 200 < 40)) actual[i] = y[i] = 0;
        expect_near(actual, y, 5e-6);
        const std::vector<float> first(actual.begin(), actual.begin() + 200);
        if (alone.empty()) alone = first;
        EXPECT_EQ(first, alone) << rows;  // bit for bit
    }
}

struct RandomExperts {
    std::vector<RandomMatrix> matrices;
    std::vector<MatrixOnCard> there;
    std::vector<ExpertWeights> on_host, on_card;  // the last one is the shared expert

    RandomExperts(DType type, int count, std::int64_t hidden, std::int64_t inner, RandomData& random) {
        matrices.reserve(size(3 * count));
        there.reserve(size(3 * count));
        for (int e = 0; e < count; ++e) {
            for (int part = 0; part < 3; ++part)
                matrices.emplace_back(type, part == 2 ? hidden : inner, part == 2 ? inner : hidden, random);
            for (std::size_t part = matrices.size() - 3; part < matrices.size(); ++part)
                there.emplace_back(matrices[part]);
            const auto* m = &matrices[size(3 * e)];
            const auto* t = &there[size(3 * e)];
            on_host.push_back({m[0].matrix, m[1].matrix, m[2].matrix});
            on_card.push_back({t[0].matrix(), t[1].matrix(), t[2].matrix()});
        }
    }
};

TEST_P(CardProducts, ExpertsAreThoseOfTheReference) {
    CACHALOT_NEEDS_CARD();
    RandomData random(4);
    constexpr int kExperts = 5, kTop = 3, kRows = 6;
    constexpr std::int64_t H = 512, I = 256;
    const RandomExperts experts(GetParam(), kExperts + 1, H, I, random);
    // Weights of experts are small in models; here they are not, and a limit cuts.
    const auto x = random.vector(kRows * H, 0.05f);
    std::vector<std::int32_t> ids;
    std::vector<float> weights;
    for (int i = 0; i < kRows * kTop; ++i) {
        ids.push_back(random.integer(0, kExperts - 1));
        weights.push_back(0.1f * static_cast<float>(random.integer(1, 9)));
    }
    std::vector<float> y(size(kRows * H));
    ExpertsInMemory supply(std::span(experts.on_host).first(kExperts));
    ExpertsCall call;
    call.rows = kRows;
    call.x = x.data();
    call.y = y.data();
    call.top_k = kTop;
    call.ids = ids.data();
    call.weights = weights.data();
    call.routed = &supply;
    call.shared = &experts.on_host.back();
    call.limit = 2.0f;
    call.shared_limit = 3.0f;
    make_reference_primitives()->experts(call);

    const OnCard<float> x_there(x), weights_there(weights), y_there(y.size()),
        inner(size(kRows * (kTop + 1) * I));
    const OnCard<std::int32_t> ids_there(ids);
    const OnCard<ExpertWeights> table(experts.on_card);
    cuda::ExpertsCall there;
    there.rows = kRows;
    there.x = x_there.address();
    there.y = y_there.address();
    there.inner = inner.address();
    there.top_k = kTop;
    there.ids = ids_there.address();
    there.weights = weights_there.address();
    there.routed = table.address();
    there.shared = experts.on_card.back();
    there.limit = call.limit;
    there.shared_limit = call.shared_limit;
    there.grids = grids_on_card();
    cuda::experts(there, card_handle());
    expect_near(y_there.fetch(), y, 1e-5);
}

struct RouteData {
    int rows, experts, top_k;
    std::vector<float> logits, bias;
    std::vector<std::int32_t> table, tokens;
};

void compare_routes(const RouteData& d) {
    std::vector<std::int32_t> ids(size(d.rows * d.top_k));
    std::vector<float> weights(ids.size());
    RouteCall call;
    call.rows = d.rows;
    call.experts = d.experts;
    call.top_k = d.top_k;
    call.scale = 1.5f;
    call.logits = d.logits.data();
    call.bias = d.bias.empty() ? nullptr : d.bias.data();
    call.table = d.table.empty() ? nullptr : d.table.data();
    call.tokens = d.tokens.data();
    call.ids = ids.data();
    call.weights = weights.data();
    make_reference_primitives()->route(call);
    const OnCard<float> logits(d.logits), bias(d.bias), weights_there(weights.size());
    const OnCard<std::int32_t> table(d.table), tokens(d.tokens), ids_there(ids.size());
    call.logits = logits.address();
    if (call.bias) call.bias = bias.address();
    if (call.table) call.table = table.address();
    call.tokens = tokens.address();
    call.ids = ids_there.address();
    call.weights = weights_there.address();
    cuda::route(call, card_handle());
    EXPECT_EQ(ids_there.fetch(), ids);
    expect_near(weights_there.fetch(), weights, 1e-6);
}

TEST(CardRoutes, AreThoseOfTheReference) {
    CACHALOT_NEEDS_CARD();
    RandomData random(6);
    for (const int experts : {8, 32, 100, 256, 384, 1024})
        compare_routes(
            {9, experts, 6, random.vector(9 * experts, 4.0f), random.vector(experts, 0.1f), {}, {}});
}

TEST(CardRoutes, TiesAndBrokenScoresAreChosenInOrder) {
    CACHALOT_NEEDS_CARD();
    RouteData d{6, 64, 6, std::vector<float>(6 * 64, 0.5f), std::vector<float>(64, 0.0f), {}, {}};
    for (int e : {3, 40, 41}) d.logits[size(64 + e)] = 1.0f;                 // some above many equal ones
    for (int e = 0; e < 64; ++e) d.logits[size(2 * 64 + e)] = float(e % 5);  // many equal ones
    for (int e = 0; e < 62; ++e) d.bias[size(e)] = e % 2 ? 0.0f : -0.0f;
    for (int e = 0; e < 64; ++e) d.logits[size(4 * 64 + e)] = 30.0f;  // where softplus is linear
    for (int e = 0; e < 64; ++e) d.logits[size(5 * 64 + e)] = float(e - 32);
    compare_routes(d);
    // NaN comes after all numbers. Weights of rows in which it is chosen are NaN, so only the choice counts.
    std::vector<float> logits(64, NAN);
    for (int e : {7, 9, 50}) logits[size(e)] = -3.0f;
    const OnCard<float> there(logits), bias(d.bias), weights(size(6));
    const OnCard<std::int32_t> ids(size(6));
    RouteCall call;
    call.rows = 1;
    call.experts = 64;
    call.top_k = 6;
    call.logits = there.address();
    call.bias = bias.address();
    call.ids = ids.address();
    call.weights = weights.address();
    cuda::route(call, card_handle());
    EXPECT_EQ(ids.fetch(), (std::vector<std::int32_t>{7, 9, 50, 0, 1, 2}));
}

TEST(CardRoutes, TablesNameExpertsByToken) {
    CACHALOT_NEEDS_CARD();
    RandomData random(7);
    RouteData d{5, 32, 4, random.vector(5 * 32, 2.0f), {}, {}, {3, 0, 9, 3, 7}};
    for (int i = 0; i < 10 * 4; ++i) d.table.push_back(random.integer(0, 31));
    compare_routes(d);
}

struct MixData {
    RandomMatrix fn;
    std::vector<float> base, scale, norm, streams;
    HyperConnectionParams params;
    HyperConnectionWeights weights() const { return {fn.matrix, base.data(), scale.data()}; }
};

MixData mix_data(int m, int hidden, int rows, DType type, RandomData& random) {
    MixData d{RandomMatrix(type, m, 4 * hidden, random),      random.vector(m),
              random.vector(m == 24 ? 3 : 1, 0.5f),           random.vector(hidden),
              random.vector(std::int64_t(rows) * 4 * hidden), {}};
    d.params.hidden = hidden;
    return d;
}

class CardMixes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Widths, CardMixes, testing::Values(256, 4096));

TEST_P(CardMixes, OfSubLayersAreThoseOfTheReference) {
    CACHALOT_NEEDS_CARD();
    const int H = GetParam(), rows = 5;
    RandomData random(8);
    for (const DType type : {DType::f32, DType::f16}) {
        const MixData d = mix_data(24, H, rows, type, random);
        std::vector<float> x(size(rows * H)), post(size(rows * 4)), comb(size(rows * 16)),
            streams = d.streams, out = random.vector(rows * H);
        const auto reference = make_reference_primitives();
        reference->hyper_connection_pre(d.weights(), d.params, d.norm.data(), streams.data(), rows, x.data(),
                                        post.data(), comb.data());
        const MatrixOnCard fn(d.fn);
        const OnCard<float> base(d.base), scale(d.scale), norm(d.norm), streams_there(d.streams),
            out_there(out), x_there(x.size()), post_there(post.size()), comb_there(comb.size()),
            dots(size(rows * cuda::MixCall::kDots));
        cuda::MixCall call;
        call.weights = {fn.matrix(), base.address(), scale.address()};
        call.params = d.params;
        call.norm = norm.address();
        call.streams = streams_there.address();
        call.rows = rows;
        call.dots = dots.address();
        call.x = x_there.address();
        call.post = post_there.address();
        call.comb = comb_there.address();
        call.grids = grids_on_card();
        cuda::mix(call, card_handle());
        expect_near(x_there.fetch(), x, 2e-5);
        expect_near(post_there.fetch(), post, 1e-5);
        expect_near(comb_there.fetch(), comb, 1e-5);

        reference->hyper_connection_post(d.params, out.data(), post.data(), comb.data(), streams.data(),
                                         rows);
        cuda::spread(out_there.address(), post_there.address(), comb_there.address(), streams_there.address(),
                     H, rows, card_handle());
        expect_near(streams_there.fetch(), streams, 2e-5);
    }
}

TEST_P(CardMixes, OfTheHeadReadTheRowsThatAreWanted) {
    CACHALOT_NEEDS_CARD();
    const int H = GetParam();
    RandomData random(9);
    const MixData d = mix_data(4, H, 7, DType::f32, random);
    const std::vector<std::int32_t> wanted = {1, 2, 6};
    std::vector<float> expected;
    for (auto row : wanted) {
        std::vector<float> x(size(H));
        make_reference_primitives()->hyper_connection_head(
            d.weights(), d.params, d.norm.data(), d.streams.data() + std::int64_t(row) * 4 * H, 1, x.data());
        expected.insert(expected.end(), x.begin(), x.end());
    }
    const MatrixOnCard fn(d.fn);
    const OnCard<float> base(d.base), scale(d.scale), norm(d.norm), streams(d.streams), x(expected.size()),
        dots(size(3 * cuda::MixCall::kDots));
    const OnCard<std::int32_t> rows(wanted);
    cuda::MixCall call;
    call.weights = {fn.matrix(), base.address(), scale.address()};
    call.params = d.params;
    call.norm = norm.address();
    call.streams = streams.address();
    call.wanted = rows.address();
    call.rows = 3;
    call.dots = dots.address();
    call.x = x.address();
    call.grids = grids_on_card();
    cuda::mix(call, card_handle());
    expect_near(x.fetch(), expected, 2e-5);
}

}  // namespace
}  // namespace cachalot
