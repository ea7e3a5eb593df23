#include "text/chat_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(PythonJson, FloatsAreReprs) {
    // Printed by Python's repr().
    const std::pair<double, const char*> cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.0001, "0.0001"},
        {0.00012345, "0.00012345"},
        {1e-05, "1e-05"},
        {9.999e-05, "9.999e-05"},
        {1.5e-07, "1.5e-07"},
        {1000000000000000.0, "1000000000000000.0"},
        {1e+16, "1e+16"},
        {1.2345678901234568e+17, "1.2345678901234568e+17"},
        {9007199254740992.0, "9007199254740992.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e+100, "1e+100"},
        {1.7976931348623157e+308, "1.7976931348623157e+308"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {0.3333333333333333, "0.3333333333333333"},
        {4503599627370498.0, "4503599627370498.0"},
        {-6.647128420400007e-36, "-6.647128420400007e-36"},
        {7.50078271268796e+48, "7.50078271268796e+48"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
        {NAN, "NaN"},
    };
    for (const auto& [value, text] : cases) EXPECT_EQ(python_float(value), text);
}

TEST(PythonJson, SpacesEscapesAndOrder) {
    const ordered_json value = ordered_json::parse(
        R"({"z": [1, -2, 18446744073709551615, 1.0, 1E5, 1e-5, true, false, null], "a": {}, "b": [], "é/": "😀"})");
    EXPECT_EQ(
        python_json(value),
        R"({"z": [1, -2, 18446744073709551615, 1.0, 100000.0, 1e-05, true, false, null], "a": {}, "b": [], "é/": "😀"})");
    const std::string controls("\0\x1f\x7f\u0080\u2028\"\\/\b\f\n\r\t", 16);
    EXPECT_EQ(python_json(controls), "\"\\u0000\\u001f\x7f\u0080\u2028\\\"\\\\/\\b\\f\\n\\r\\t\"");
}

TEST(PythonJson, InvalidUtf8StaysAsItIs) {
    EXPECT_EQ(json_string("\xff\xed\xa0\x80"), "\"\xff\xed\xa0\x80\"");
}

TEST(PythonJson, RefusesDeepValues) {
    ordered_json value = 1;
    for (int i = 0; i < 300; i++) {
        ordered_json outer = ordered_json::array();
        outer.push_back(std::move(value));
        value = std::move(outer);
    }
    EXPECT_THROW(python_json(value), Error);
}

TEST(ParseJson, NamesTheProblem) {
    EXPECT_THAT([] { parse_json("{\"a\": tru}", "body"); },
                ThrowsMessage<Error>(HasSubstr("body: not valid JSON (at byte 10)")));
    EXPECT_THAT([] { parse_json("", "body"); }, ThrowsMessage<Error>(HasSubstr("body: not valid JSON")));
    EXPECT_THAT([] { parse_json("[1e999]", "body"); }, ThrowsMessage<Error>(HasSubstr("out of range")));
    EXPECT_THAT([] { parse_json("\"\xff\"", "body"); }, ThrowsMessage<Error>(HasSubstr("not valid JSON")));
}

TEST(ParseJson, LimitsDepthAndKeys) {
    EXPECT_NO_THROW(parse_json(std::string(200, '[') + std::string(200, ']'), "body"));
    EXPECT_THAT([] { parse_json(std::string(100'000, '['), "body"); },
                ThrowsMessage<Error>(HasSubstr("nested deeper than 200")));
    std::string object = "{";
    for (int i = 0; i < 30'000; i++) object += "\"k" + std::to_string(i) + "\":0,";
    object.back() = '}';
    EXPECT_THAT([&] { parse_json(object, "body"); }, ThrowsMessage<Error>(HasSubstr("too many keys")));
}

TEST(ParseJson, HalvesOfSurrogatePairsBecomeReplacementCharacters) {
    EXPECT_EQ(parse_json(R"("\ud83d\ude00 \ud83d x \ude00\ud83d")", "x"), "😀 \uFFFD x \uFFFD\uFFFD");
    EXPECT_EQ(parse_json(R"("\\ud83d \ud83d\\n \ud83d\u0041")", "x"), "\\ud83d \uFFFD\\n \uFFFDA");
    EXPECT_EQ(parse_tool_arguments(R"({"a": "\udc00"})"), (std::vector<ToolArgument>{{"a", true, "\uFFFD"}}));
}

TEST(ToolArguments, ValuesAreRewrittenAsPythonWritesThem) {
    const auto arguments = parse_tool_arguments(
        R"({"s":"a\nb","n":1.50,"i":123456789012345678901234567890,"z":-0,"o":{"k":[1,{"x":"\u00e9"}],"e":{}},"t":true,"u":null})");
    EXPECT_EQ(arguments, (std::vector<ToolArgument>{{"s", true, "a\nb"},
                                                    {"n", false, "1.5"},
                                                    {"i", false, "123456789012345678901234567890"},
                                                    {"z", false, "0"},
                                                    {"o", false, R"({"k": [1, {"x": "é"}], "e": {}})"},
                                                    {"t", false, "true"},
                                                    {"u", false, "null"}}));
}

TEST(ToolArguments, TheLastOfEqualKeysWinsInThePlaceOfTheFirst) {
    EXPECT_EQ(parse_tool_arguments(R"({"a": 1, "b": {"x": 1, "x": 2}, "a": "s"})"),
              (std::vector<ToolArgument>{{"a", true, "s"}, {"b", false, R"({"x": 2})"}}));
}

TEST(ToolArguments, OnlyObjectsAreArguments) {
    for (const char* text : {"", "[1]", "\"x\"", "1", "null", "{", "{}}", "{\"a\": }", "{\"a\": NaN}"})
        EXPECT_EQ(parse_tool_arguments(text), std::nullopt) << text;
    EXPECT_EQ(parse_tool_arguments(" {} "), std::vector<ToolArgument>{});
    const std::string deep = "{\"a\": " + std::string(100'000, '[');
    EXPECT_EQ(parse_tool_arguments(deep), std::nullopt);
}

}  // namespace
}  // namespace cachalot
