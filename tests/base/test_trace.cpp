#include "base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace cachalot {
namespace {

using testing::HasSubstr;

TEST(Trace, SpansNest) {
    Trace trace;
    {
        Traced pass(&trace, "pass");
        for (int layer = 0; layer < 2; ++layer) {
            Traced outer(&trace, "layer", layer);
            for (int i = 0; i < 3; ++i) {
                Traced inner(&trace, "project", layer);
                trace.count(1000, 2000, 5);
            }
        }
        { Traced layer(&trace, "layer", 2); }
        Traced head(&trace, "head");
        trace.count(1, 1, 2);
    }
    ASSERT_EQ(trace.spans().size(), 11u);
    const auto &first = trace.spans()[1], &second = trace.spans()[2];
    EXPECT_EQ(first.depth, 1);
    EXPECT_EQ(second.depth, 2);
    EXPECT_LE(first.begin, second.begin);
    EXPECT_LE(second.end, first.end);
    EXPECT_EQ(trace.spans()[5].layer, 1);

    const auto json = nlohmann::json::parse(trace.chrome_json());
    ASSERT_EQ(json["traceEvents"].size(), 11u);
    EXPECT_EQ(json["traceEvents"][1]["args"]["layer"], 0);
    EXPECT_EQ(json["traceEvents"][2]["name"], "project");
    EXPECT_EQ(json["traceEvents"][2]["args"]["bytes"], 1000);
    EXPECT_GE(json["traceEvents"][1]["dur"].get<double>(), json["traceEvents"][2]["dur"].get<double>());
    EXPECT_THAT(trace.summary(), HasSubstr("layer/project                           6 "));
    EXPECT_THAT(trace.summary(), HasSubstr("waits for all threads: 32.0 in a pass, 10.0 in a layer"));
}

TEST(Trace, TheTableIsAsWideAsItsLongestName) {
    Trace trace;
    {
        Traced pass(&trace, "a_box_that_has_a_name_longer_than_others");
        Traced inner(&trace, "product");
    }
    { Traced pass(&trace, "short"); }
    std::istringstream table(trace.summary());
    std::vector<std::size_t> ends;  // of the column of calls
    for (std::string line; std::getline(table, line) && !line.starts_with("between");)
        ends.push_back(line.starts_with("box") ? line.find("calls") + 5 : line.find(" 1 ") + 2);
    ASSERT_EQ(ends.size(), 3u) << trace.summary();
    EXPECT_THAT(ends, testing::Each(ends.front())) << trace.summary();
}

TEST(Trace, HoldsABoundedNumberOfSpans) {
    Trace trace(5);
    for (int pass = 0; pass < 3; ++pass) {
        Traced outer(&trace, "pass");
        for (int layer = 0; layer < 3; ++layer) {
            Traced inner(&trace, "layer", layer);
            trace.count(1, 1);
            Traced innermost(&trace, "project", layer);
            trace.count(10, 10);
        }
    }
    ASSERT_EQ(trace.spans().size(), 5u);  // of 21
    EXPECT_EQ(trace.dropped(), 16);
    EXPECT_EQ(trace.spans()[3].bytes, 1);
    EXPECT_EQ(trace.spans()[4].bytes, 10);
    // What was recorded has ended; the third layer, which came too late, was counted for nobody.
    for (const TraceSpan& span : trace.spans()) EXPECT_GE(span.end, span.begin);
    EXPECT_EQ(trace.spans()[0].bytes, 0);
    EXPECT_THAT(trace.summary(), HasSubstr("of the first 5 spans; 16 later ones were dropped"));
    EXPECT_EQ(nlohmann::json::parse(trace.chrome_json())["otherData"]["dropped"], 16);
    EXPECT_EQ(Trace().summary().find("dropped"), std::string::npos);
}

TEST(Trace, NothingIsRecordedWithoutOne) {
    Traced span(nullptr, "layer");
    EXPECT_EQ(nlohmann::json::parse(Trace().chrome_json())["traceEvents"].size(), 0u);
}

}  // namespace
}  // namespace cachalot
