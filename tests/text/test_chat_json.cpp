#include "text/chat_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "support/growth.h"
#include "text/json_limits.h"

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

TEST(ParseJson, LimitsDepthKeysAndValues) {
    EXPECT_NO_THROW(parse_json(std::string(200, '[') + std::string(200, ']'), "body"));
    EXPECT_THAT([] { parse_json(std::string(100'000, '['), "body"); },
                ThrowsMessage<Error>(HasSubstr("nested deeper than 200")));
    const auto object = [](std::size_t keys) {
        std::string text = "{";
        for (std::size_t i = 0; i < keys; i++) text += "\"k" + std::to_string(i) + "\":0,";
        text.back() = '}';
        return text;
    };
    EXPECT_EQ(parse_json(object(kMaxJsonKeys), "body").size(), kMaxJsonKeys);
    EXPECT_THAT([&] { parse_json(object(kMaxJsonKeys + 1), "body"); },
                ThrowsMessage<Error>(HasSubstr("body: a JSON object has more than 100000 keys")));
    const auto array = [](std::size_t values) {  // itself one of them
        std::string text = "[";
        for (std::size_t i = 1; i < values; i++) text += "0,";
        text.back() = ']';
        return text;
    };
    EXPECT_EQ(parse_json(array(kMaxJsonValues), "body").size(), kMaxJsonValues - 1);
    EXPECT_THAT([&] { parse_json(array(kMaxJsonValues + 1), "body"); },
                ThrowsMessage<Error>(HasSubstr("body: JSON with more than 2000000 values")));
}

TEST(ParseJson, ReadsWhatTheLibraryWouldRead) {
    for (const char* text :
         {"0", "-1", "18446744073709551615", "1.5e3", "true", "null", "\"\\u00e9\\n\"", "[]", "{}",
          " [1 , [ ] ] ", R"({"a":[1,{"b":[{},{}]},"s"],"c":{"d":null}})", R"({"a":{"x":1},"b":2})"})
        EXPECT_EQ(parse_json(text, "x"), ordered_json::parse(text)) << text;
}

TEST(ParseJson, TheLastOfEqualKeysWinsInThePlaceOfTheFirst) {
    EXPECT_EQ(
        parse_json(R"({"a": 1, "b": {"x": 1, "y": 2, "x": [3]}, "a": "s", "c": 0, "a": "t"})", "x").dump(),
        R"({"a":"t","b":{"x":[3],"y":2},"c":0})");
}

// What takes two bytes a time may not take the square of the time.
TEST(ParseJson, TakesLinearTime) {
    const auto list = [](const std::string& item) {
        return [item](std::size_t n) {
            std::string text = "[" + item;
            for (std::size_t i = 1; i < n; i++) text += "," + item;
            return text + "]";
        };
    };
    const auto keys = [](std::size_t n) {
        std::string text = "{\"k\":0";
        for (std::size_t i = 0; i < n; i++) text += ",\"k" + std::to_string(i) + "\":0";
        return text + "}";
    };
    const auto equal_keys = [](std::size_t n) {
        std::string text = "{\"k\":0";
        for (std::size_t i = 0; i < n; i++) text += ",\"k\":0";
        return text + "}";
    };
    const auto parse = [](const std::string& text) { parse_json(text, "body"); };
    const auto arguments = [](const std::string& text) {
        EXPECT_TRUE(parse_tool_arguments("{\"a\":" + text + "}"));
    };
    using test::growth;
    for (const char* item : {"{}", "[]", "{\"a\":{}}", "[[]]", "\"\\ud83d\"", "0"}) {
        EXPECT_LT(growth(5'000, list(item), parse), test::kLinearGrowth) << item;
        EXPECT_LT(growth(5'000, list(item), arguments), test::kLinearGrowth) << item;
    }
    EXPECT_LT(growth(5'000, keys, parse), test::kLinearGrowth);
    EXPECT_LT(growth(5'000, keys, arguments), test::kLinearGrowth);
    EXPECT_LT(growth(5'000, equal_keys, parse), test::kLinearGrowth);
    EXPECT_LT(growth(5'000, equal_keys, arguments), test::kLinearGrowth);
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

// Each level was once written anew for the one around it.
TEST(ToolArguments, DepthDoesNotMultiplyTheTime) {
    const std::string text = "\"" + std::string(1'000'000, 'x') + "\"";
    const auto nested = [&](std::size_t depth) {
        return "{\"a\":" + std::string(depth, '[') + text + std::string(depth, ']') + "}";
    };
    const auto parse = [](const std::string& json) { EXPECT_TRUE(parse_tool_arguments(json)); };
    EXPECT_LT(test::growth(24, nested, parse), 3);
    EXPECT_EQ(parse_tool_arguments(nested(199))->front().value,
              std::string(199, '[') + text + std::string(199, ']'));
    EXPECT_EQ(parse_tool_arguments(nested(200)), std::nullopt);
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
