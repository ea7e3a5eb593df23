#include "experts/route_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"
#include "file/text_file.h"
#include "measure/synthetic_trace.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kRoutes = std::string(CACHALOT_TEST_DATA) + "/routes/";

void expect_refused(std::string_view bytes, const std::string& why) {
    try {
        parse_route_trace(bytes, "some.file");
        ADD_FAILURE() << "expected: " << why;
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("some.file"));
        EXPECT_THAT(e.what(), HasSubstr(why));
    }
}

const std::string kHeader =
    "# route_trace v1\n"
    "# model=Tiny arch=x n_layer=2 n_expert=8 n_expert_used=2\n"
    "# layer=0 expert_bytes=100 dense_bytes=5\n"
    "# layer=1 expert_bytes=200 dense_bytes=5\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n";

TEST(RouteTrace, ReadsCsv) {
    // The prompt comes layer by layer, and only its last token goes through the last layer.
    const auto trace = parse_route_trace(kHeader +
                                             "0,0,0,0,0,3,0.5,0,0\n0,0,0,0,1,4,0.5,0,0\n"
                                             "0,0,1,0,0,5,0.5,0,0\r\n0,0,1,0,1,6,0.5,0,0\n"
                                             "0,0,1,1,0,7,0.5,0,0\n0,0,1,1,1,0,0.5,0,0\n"
                                             "0,1,1,0,0,1,0.5,0,0\n0,1,1,0,1,2,0.5,0,0\n\n"
                                             "0,1,1,1,0,3,0.5,0,0\n0,1,1,1,1,1,0.5,0,0",
                                         "some.file");
    EXPECT_EQ(trace.header, (RouteHeader{"Tiny", 2, 8, 2, {100, 200}}));
    EXPECT_THAT(trace.tokens, ElementsAre(RoutedToken{-1, 0, true, false}, RoutedToken{-1, 0, true, false},
                                          RoutedToken{-1, 0, false, false}));
    EXPECT_THAT(trace.chosen(0, 0), ElementsAre(3, 4));
    EXPECT_THAT(trace.chosen(0, 1), ElementsAre());
    EXPECT_THAT(trace.chosen(1, 1), ElementsAre(7, 0));
    EXPECT_THAT(trace.chosen(2, 1), ElementsAre(3, 1));
}

TEST(RouteTrace, ReadsARecordedCsv) {
    const auto trace = read_route_trace(kRoutes + "gptoss-cut.csv");
    EXPECT_EQ(trace.header.model, "gpt-oss-120b-Q4_K_M.gguf");
    EXPECT_EQ(trace.header.layers, 36);
    EXPECT_EQ(trace.header.expert_bytes[35], 13219200u);
    EXPECT_EQ(trace.tokens.size(), 9u);
    const auto whole = read_route_trace(kRoutes + "gptoss.route");
    EXPECT_EQ(whole.header, trace.header);
    EXPECT_EQ(std::vector(trace.chosen(0, 0).begin(), trace.chosen(0, 0).end()),
              std::vector(whole.chosen(0, 0).begin(), whole.chosen(0, 0).end()));
}

TEST(RouteTrace, RefusesCsvNamingTheLine) {
    expect_refused("", "neither a route trace nor a CSV");
    expect_refused("turn,phase\n", "neither a route trace nor a CSV");
    expect_refused("# n_expert=2\nturn,phase\n", "number of layers is 0");
    expect_refused(kHeader, "no tokens");
    expect_refused(kHeader + "0,0,0,0,0,8,0,0,0\n", "line 6: expert 8, but there are 8");
    expect_refused(kHeader + "0,0,0,2,0,1,0,0,0\n", "line 6: layer 2");
    expect_refused(kHeader + "0,0,0,0,2,1,0,0,0\n", "line 6: slot 2");
    expect_refused(kHeader + "0,2,0,0,0,1,0,0,0\n", "line 6: phase 2");
    expect_refused(kHeader + "0,0,x,0,0,1,0,0,0\n", "line 6: step is \"x\"");
    expect_refused(kHeader + "0,0,-1,0,0,1,0,0,0\n", "line 6: step is \"-1\"");
    expect_refused(kHeader + "0,0,4294967296,0,0,1,0,0,0\n", "line 6: step");
    expect_refused(kHeader + "0,0,0,0\n", "line 6: 4 of 9 values");
    expect_refused(kHeader + "0,0,0,0,0,1,0,0,0\n0,0,0,0,0,2,0,0,0\n", "line 7: this token");
    expect_refused(kHeader + "0,0,0,0,0,1,0,0,0\n0,0,0,0,1,1,0,0,0\n", "line 7: expert 1 was chosen");
    expect_refused("# n_layer=2 n_expert=8 n_expert_used=2\n# layer=1 expert_bytes=1\n",
                   "line 2: expert_bytes");
    expect_refused("# n_layer=2 n_expert=8 n_expert_used=2\nturn,phase\n",
                   "sizes of experts for 0 of 2 layers");
    expect_refused(
        "# n_layer=1 n_expert=8 n_expert_used=2\n# layer=0 expert_bytes=1\nturn,phase,step,layer,slot\n",
        "no column \"expert\"");
    expect_refused("# n_layer=1 n_expert=8 n_expert_used=9\n# layer=0 expert_bytes=1\nturn\n",
                   "the number of experts of a token is 9");
    expect_refused("# n_layer=99999999\n# n_expert=8 n_expert_used=2\nturn\n",
                   "the number of layers is 99999999");
}

// Two hundred tokens of a layer each would be 128 kB a token.
TEST(RouteTrace, RefusesACsvThatWouldBeMuchLargerInMemory) {
    std::string text = "# n_layer=1024 n_expert=64 n_expert_used=64\n";
    for (int i = 0; i < 1024; ++i) text += fmt::format("# layer={} expert_bytes=1\n", i);
    text += "turn,phase,step,layer,slot,expert\n";
    for (int i = 0; i < 200; ++i) text += fmt::format("0,1,{},0,0,0\n", i);
    expect_refused(text, "200 choices for 200 tokens");
}

TEST(RouteTrace, SurvivesWritingAndReading) {
    SyntheticTraceOptions options;
    options.tokens = 20;
    options.prompt = 5;
    options.topics = 2;
    auto trace = synthetic_trace(options);
    trace.tokens[3].id = 77;
    trace.routes[trace.header.choices() - 1] = kNoExpert;
    test::TemporaryFolder folder;
    const auto path = folder.path() / "a.route";
    {
        RouteTraceWriter writer(path, trace.header);
        for (std::size_t i = 0; i < trace.tokens.size(); ++i)
            writer.add(trace.tokens[i],
                       std::span(trace.routes).subspan(i * trace.header.choices(), trace.header.choices()));
        writer.flush();
    }
    const auto read = read_route_trace(path);
    EXPECT_EQ(read.header, trace.header);
    EXPECT_EQ(read.tokens, trace.tokens);
    EXPECT_EQ(read.routes, trace.routes);
    EXPECT_FALSE(read.cut);

    auto bytes = read_text_file(path);
    const auto record = 12 + 2 * trace.header.choices();
    // Whatever the length, there is a trace of whole records or an error.
    for (std::size_t size = 0; size < bytes.size(); size += 7) {
        const auto part = std::string_view(bytes).substr(0, size);
        try {
            const auto cut = parse_route_trace(part, "some.file");
            EXPECT_EQ(cut.cut, (bytes.size() - size) % record != 0);
            EXPECT_EQ(cut.tokens.size(), trace.tokens.size() - (bytes.size() - size + record - 1) / record);
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr("some.file"));
        }
    }
    const auto first = bytes.size() - trace.tokens.size() * record;
    auto with = [&](std::size_t at, char value) {
        auto changed = bytes;
        changed[at] = value;
        return changed;
    };
    expect_refused(with(8, 2), "version 2");
    expect_refused(with(first + 8, 4), fmt::format("record 0 at offset {}: unknown flags", first));
    expect_refused(with(first + 8, 3), "same pass as the record before");
    expect_refused(with(first + 13, 1), "layer 0: expert");
    expect_refused(with(first + 14, bytes[first + 12]), "is chosen twice");
    expect_refused(with(14, 1), "number of layers");
}

TEST(RouteTrace, WriterReportsWhatCannotBeWritten) {
    EXPECT_THROW(RouteTraceWriter("/nowhere/at/all", {"m", 1, 8, 2, {5}}), Error);
}

TEST(RouteTrace, PromptsAreRegrouped) {
    SyntheticTraceOptions options;
    options.tokens = 4;
    options.prompt = 5;
    options.topics = 2;
    auto trace = synthetic_trace(options);
    regroup_prompts(trace, 3);
    std::string passes;
    for (const auto& t : trace.tokens) passes += t.same_pass ? '+' : t.prompt ? 'P' : 'A';
    EXPECT_EQ(passes, "P++P+AAP++P+AA");
    regroup_prompts(trace, 1);
    for (const auto& t : trace.tokens) EXPECT_FALSE(t.same_pass);
}

TEST(SyntheticTrace, IsTheSameForTheSameSeed) {
    SyntheticTraceOptions options;
    const auto a = synthetic_trace(options), b = synthetic_trace(options);
    options.seed = 2;
    EXPECT_EQ(a.routes, b.routes);
    EXPECT_NE(a.routes, synthetic_trace(options).routes);
    EXPECT_THAT(a.chosen(0, 0), ElementsAre(a.routes[0], a.routes[1], a.routes[2], a.routes[3]));
    options.topics = 0;
    EXPECT_THROW(synthetic_trace(options), Error);
}

RC_GTEST_PROP(RouteTrace, AnyBytesAreATraceOrAnError, (std::vector<char> bytes)) {
    for (const auto& start : {std::string(), std::string("CCHROUTE\1\0\0\0", 12), kHeader}) try {
            const auto trace =
                parse_route_trace(start + std::string(bytes.begin(), bytes.end()), "some.file");
            RC_ASSERT(trace.routes.size() == trace.tokens.size() * trace.header.choices());
        } catch (const Error& e) {
            RC_ASSERT(std::string_view(e.what()).starts_with("some.file"));
        }
}

}  // namespace
}  // namespace cachalot
