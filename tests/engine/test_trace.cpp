#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "engine/engine.h"
#include "model/cost.h"
#include "support/nano.h"

namespace cachalot {
namespace {

// What the boxes of one token add up to is what the shapes of the weights say.
TEST(EngineTrace, CountsWhatATokenCosts) {
    Trace trace;
    EngineOptions options;
    options.trace = &trace;
    Engine engine(test::nano(), options);
    KvState state = engine.new_state();
    const std::int32_t token = 5;
    engine.prefill(state, {&token, 1});

    const std::set<std::string_view> products = {"project", "experts", "hyper_connection_pre",
                                                 "hyper_connection_head"};
    std::int64_t bytes = 0, operations = 0, layers = 0;
    for (const auto& span : trace.spans()) {
        EXPECT_GE(span.end, span.begin);
        layers += span.name == std::string_view("attention_input");
        if (!products.count(span.name)) continue;
        bytes += span.bytes;
        operations += span.operations;
    }
    const auto cost = token_cost(engine.model().config, engine.model().weights);
    EXPECT_EQ(bytes, cost.bytes);
    EXPECT_EQ(operations, cost.operations);
    EXPECT_EQ(layers, engine.model().config.layers);
}

}  // namespace
}  // namespace cachalot
