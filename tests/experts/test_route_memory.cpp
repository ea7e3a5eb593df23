#include "experts/policy/route_memory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "experts/policy/chance_regression.h"

namespace cachalot {
namespace {

std::vector<float> shares(RouteMemory& memory, int layer) {
    std::vector<float> s(8);
    memory.shares_at_next_visit(layer, s);
    return s;
}

// Two layers, one expert in each: (0, 1), (2, 3), (0, 1), ...
TEST(RouteMemory, FindsWhatCameNextBefore) {
    RouteMemory memory(2);
    EXPECT_EQ(shares(memory, 1), std::vector<float>(8, 0.0f));  // nothing is known yet
    for (int token = 0; token < 9; ++token) {
        memory.begin_pass();
        memory.begin_layer(0);
        memory.add(token % 2 ? 2 : 0);
        if (token >= 6) {
            // Layer 1 comes in this pass, layer 0 in the next.
            EXPECT_GT(shares(memory, 1)[token % 2 ? 3 : 1], 0.9f) << token;
            EXPECT_GT(shares(memory, 0)[token % 2 ? 0 : 2], 0.9f) << token;
        }
        memory.begin_layer(1);
        memory.add(token % 2 ? 3 : 1);
    }
}

TEST(RouteMemory, SharesAddUpToTheChoicesOfATokenAndOldPassesAreForgotten) {
    RouteMemory memory(1);
    for (int token = 0; token < 400; ++token) {
        memory.begin_pass();
        memory.begin_layer(0);
        memory.add(token < 150 ? 7 : token % 3);
        memory.add(token < 150 ? 6 : 3 + token % 2);
    }
    const auto s = shares(memory, 0);
    EXPECT_NEAR(std::accumulate(s.begin(), s.end(), 0.0f), 2, 1e-4);
    EXPECT_EQ(s[7], 0);
}

TEST(RouteMemory, PassesWithoutChoicesLeaveNoTrace) {
    RouteMemory memory(1);
    for (int i = 0; i < 3; ++i) memory.begin_pass();
    memory.begin_layer(0);
    EXPECT_EQ(shares(memory, 0), std::vector<float>(8, 0.0f));
}

RC_GTEST_PROP(ChanceRegression, FindsTheWeightsOfALinearLaw, ()) {
    const auto tenth = [] { return *rc::gen::inRange(0, 11) / 10.0; };
    const std::array<double, 2> truth = {tenth() / 2, tenth() / 2};
    ChanceRegression<2> regression({0, 0}, 1e-6);
    // y is a number here instead of something that happens or not: y * features, added up.
    for (int i = 0; i < 20; ++i) {
        const std::array<double, 2> x = {0.1 + tenth(), i / 20.0};
        const double y = truth[0] * x[0] + truth[1] * x[1];
        regression.observe(x);
        regression.happened({y * x[0], y * x[1]});
    }
    const auto w = regression.weights();
    RC_ASSERT(std::abs(w[0] - truth[0]) < 1e-3 && std::abs(w[1] - truth[1]) < 1e-3);
}

TEST(ChanceRegression, StartsFromThePriorAndCanLeaveFeaturesOut) {
    ChanceRegression<3> regression({0.5, 0.25, 1}, 10);
    auto expect_weights = [](const std::array<double, 3>& w, const std::array<double, 3>& expected) {
        for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(w[i], expected[i], 1e-9) << i;
    };
    expect_weights(regression.weights(), {0.5, 0.25, 1});
    expect_weights(regression.weights(2), {0.5, 0.25, 0});
    for (int i = 0; i < 10000; ++i) {
        regression.observe({1, 0, 0});
        if (i % 4 == 0) regression.happened({1, 0, 0});
    }
    EXPECT_NEAR(regression.weights()[0], 0.25, 1e-3);
    EXPECT_NEAR(regression.weights()[1], 0.25, 1e-9);
    for (int i = 0; i < 10000; ++i) regression.fade(0.9);  // forgotten
    EXPECT_NEAR(regression.weights()[0], 0.5, 1e-3);
}

}  // namespace
}  // namespace cachalot
