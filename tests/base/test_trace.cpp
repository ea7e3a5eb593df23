#include "base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cachalot {
namespace {

using testing::HasSubstr;

TEST(Trace, SpansNest) {
    Trace trace;
    for (int layer = 0; layer < 2; ++layer) {
        Traced outer(&trace, "layer", layer);
        for (int i = 0; i < 3; ++i) {
            Traced inner(&trace, "project");
            trace.count(1000, 2000);
        }
    }
    ASSERT_EQ(trace.spans().size(), 8u);
    const auto &first = trace.spans()[0], &second = trace.spans()[1];
    EXPECT_EQ(first.depth, 0);
    EXPECT_EQ(second.depth, 1);
    EXPECT_LE(first.begin, second.begin);
    EXPECT_LE(second.end, first.end);
    EXPECT_EQ(trace.spans()[4].layer, 1);

    const auto json = nlohmann::json::parse(trace.chrome_json());
    ASSERT_EQ(json["traceEvents"].size(), 8u);
    EXPECT_EQ(json["traceEvents"][0]["args"]["layer"], 0);
    EXPECT_EQ(json["traceEvents"][1]["name"], "project");
    EXPECT_EQ(json["traceEvents"][1]["args"]["bytes"], 1000);
    EXPECT_GE(json["traceEvents"][0]["dur"].get<double>(), json["traceEvents"][1]["dur"].get<double>());
    EXPECT_THAT(trace.summary(), HasSubstr("layer/project                           6 "));
}

TEST(Trace, NothingIsRecordedWithoutOne) {
    Traced span(nullptr, "layer");
    EXPECT_EQ(nlohmann::json::parse(Trace().chrome_json())["traceEvents"].size(), 0u);
}

}  // namespace
}  // namespace cachalot
