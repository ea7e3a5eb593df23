#include "file/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Json, ParsesAnObject) {
    const auto value = parse_file_json(R"({"a": 1, "b": {"a": [true, null, "x"]}, "c": []})", "test");
    EXPECT_EQ(value.dump(), R"({"a":1,"b":{"a":[true,null,"x"]},"c":[]})");
}

TEST(Json, MembersArriveInOrder) {
    std::string seen;
    parse_json_members(
        R"({"z": {"x": 1}, "b": 2, "a": [3], "c": {}})", "test", {},
        [&](const std::string& name, nlohmann::json& value) { seen += name + value.dump() + ";"; });
    EXPECT_EQ(seen, R"(z{"x":1};b2;a[3];c{};)");
}

TEST(Json, RefusesWhatTwoParsersCouldReadDifferently) {
    const auto refused = [](std::string_view text) {
        return error_of([&] { parse_file_json(text, "file.json"); });
    };
    EXPECT_THAT(refused(R"({"a": 1, "a": 2})"),
                AllOf(StartsWith("file.json:"), HasSubstr("'a' appears twice")));
    EXPECT_THAT(refused(R"({"x": {"a": 1, "a": 1}})"), HasSubstr("appears twice"));
    EXPECT_THAT(refused(R"({"a": 1, "\u0061": 2})"), HasSubstr("appears twice"));
    for (const char* text : {"", "{", "[]", "1", "\"x\"", "null", "{} x", "{\"a\": NaN}", "{\"a\": 01}",
                             "{\"a\": 1e999}", "{\"a\": \"\xff\"}", "{'a': 1}", "{\"a\": 1,}"})
        EXPECT_THAT(refused(text), StartsWith("file.json:")) << text;
}

TEST(Json, SameKeyInDifferentObjectsIsFine) {
    EXPECT_NO_THROW(parse_file_json(R"({"a": {"k": 1}, "b": {"k": 1, "a": {"k": 2}}})", "test"));
}

TEST(Json, LimitsDepthAndSize) {
    const auto refused = [](const std::string& text, const JsonLimits& limits) {
        return error_of([&] { parse_file_json(text, "test", limits); });
    };
    EXPECT_THAT(refused("{\"a\":" + std::string(100'000, '['), {}), HasSubstr("levels deep"));
    EXPECT_NO_THROW(parse_file_json(R"({"a": {"b": []}})", "test", {.depth = 3}));
    EXPECT_THAT(refused(R"({"a": {"b": [[]]}})", {.depth = 3}), HasSubstr("3 levels deep"));
    EXPECT_THAT(refused(R"({"a": [1, 2, 3, 4, 5]})", {.values = 4}),
                HasSubstr("'a' holds more than 4 values"));
    EXPECT_THAT(refused(R"({"a": 1, "b": 2, "c": 3})", {.members = 2}), HasSubstr("more than 2 entries"));
}

}  // namespace
}  // namespace cachalot
