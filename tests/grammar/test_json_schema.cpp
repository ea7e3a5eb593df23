#include "grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

using ::testing::HasSubstr;

TEST(JsonSchema, ObjectsHaveTheirMembersInOrderAndNoOthers) {
    const auto grammar =
        schema(R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"},
        "c": {"type": "null"}}, "required": ["a", "c"]})");
    expect_language(
        grammar,
        {R"({"a":1,"c":null})", R"({"a": -12, "b": true, "c": null})", "{\n  \"a\": 1,\n  \"c\": null\n}"},
        {R"({"a":1})", R"({"c":null,"a":1})", R"({"a":1,"c":null,"d":1})", "{}",
         R"({"a":1,"c":null})"
         "\n",
         R"({"a":  1,"c":null})", R"({"a":01,"c":null})", "{\n\n\"a\":1,\"c\":null}", R"({"a":1,,"c":null})",
         R"({"a":1,"c":null,})"});
    expect_language(schema(R"({"properties": {"a": true, "b": true}, "type": "object"})"),
                    {"{}", R"({"a":1})", R"({"b":[]})", R"({"a":{},"b":"x"})", "{ }"},
                    {R"({"c":1})", R"({,"b":1})", R"({"b":1,"a":1})"});
}

TEST(JsonSchema, OtherMembers) {
    expect_language(schema(R"({"type": "object"})"), {"{}", R"({"x":{"y":[1,{}]},"z":1e5})"},
                    {"[]", "{1:2}"});
    expect_language(
        schema(
            R"({"type": "object", "additionalProperties": {"type": "integer"}, "properties": {"ab": {"type":
        "string"}}, "required": ["ab"]})"),
        {R"({"ab":"x"})", R"({"ab":"x","a":1,"abc":2,"":3,"ä":4})"},
        {R"({"a":1})", R"({"ab":1})", R"({"ab":"x","ab":1})", R"({"ab":"x","\u0061b":1})",
         R"({"ab":"x","a":"y"})"});
    expect_language(
        schema(
            R"({"type": "object", "patternProperties": {"^x": {"type": "integer"}, "y$": {"minimum": 5}}})"),
        {R"({"x":1,"xy":5,"ay":"s"})", "{}"}, {R"({"x":""})", R"({"xy":4})", R"({"b":1})", R"({"xy":"s"})"});
    expect_language(schema(R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 2},
        "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2})"),
                    {R"({"a":1})", R"({"a":1,"bc":2})"},
                    {"{}", R"({"abc":1})", R"({"A":1})", R"({"a":1,"b":2,"c":3})"});
    expect_language(schema(R"({"type": "object", "properties": {"a": true}, "additionalProperties": true,
        "maxProperties": 2})"),
                    {"{}", R"({"a":1})", R"({"a":1,"b":2})", R"({"b":2})"},
                    {R"({"a":1,"b":2,"c":3})", R"({"b":1,"c":2,"d":3})"});
    expect_language(schema(R"({"type": "object", "propertyNames": {"enum": ["p", "q"]}, "required": ["p"]})"),
                    {R"({"p":1})"}, {"{}", R"({"q":1})"});
}

TEST(JsonSchema, Arrays) {
    expect_language(
        schema(R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})"),
        {"[1]", "[1, 2]", "[1,2,3]", "[\n 1,\n 2\n]"},
        {"[]", "[1,2,3,4]", "[\"a\"]", "[1,]", "[,1]", "[1 ,2]"});
    expect_language(schema(R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]})"),
                    {R"([1,"a"])"}, {"[]", "[1]", R"([1,"a",2])", R"(["a",1])"});
    expect_language(
        schema(R"({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"},
        "minItems": 2})"),
        {R"([1,"a"])", R"([1,"a","b"])"}, {"[1]", "[1,2]"});
    expect_language(schema(R"({"type": "array", "maxItems": 0})"), {"[]", "[ ]"}, {"[1]", "[  ]"});
    expect_language(schema(R"({"type": "array", "items": false})"), {"[]"}, {"[1]"});
    const std::string million = schema_error(R"({"type": "array", "minItems": 1000001})");
    EXPECT_THAT(million, HasSubstr("#/minItems: is more than 1000000"));
}

TEST(JsonSchema, Integers) {
    expect_language(schema(R"({"type": "integer"})"), {"0", "-5", "123"},
                    {"1.0", "1e3", "01", "--1", "+1", ""});
    const auto range = [](int low, int high, const std::string& text) {
        const auto grammar = schema(text);
        for (int i = -1200; i <= 1200; ++i)
            ASSERT_EQ(matches(*grammar, std::to_string(i)), i >= low && i <= high) << i << " " << text;
    };
    range(-7, 1100, R"({"type": "integer", "minimum": -7, "maximum": 1100})");
    range(12, 98, R"({"type": "integer", "exclusiveMinimum": 11.5, "exclusiveMaximum": 99})");
    range(-1200, -100, R"({"type": "integer", "maximum": -100})");
    range(100, 1200, R"({"type": "integer", "minimum": 1e2})");
    range(0, 0, R"({"type": "integer", "minimum": 0, "maximum": 0})");
    range(1, 0, R"({"type": "integer", "enum": [12345]})");
    const auto sevens = schema(R"({"type": "integer", "multipleOf": 7, "minimum": -50, "maximum": 500})");
    for (int i = -600; i <= 600; ++i)
        ASSERT_EQ(matches(*sevens, std::to_string(i)), i % 7 == 0 && i >= -50 && i <= 500) << i;
    EXPECT_THAT(schema_error(R"({"type": "integer", "multipleOf": 123457})"), HasSubstr("#/multipleOf"));
    EXPECT_THAT(schema_error(R"({"type": "integer", "minimum": 2, "maximum": 1})"),
                HasSubstr("nothing can satisfy"));
}

TEST(JsonSchema, Numbers) {
    expect_language(schema(R"({"type": "number"})"), {"0", "-0.5", "1e5", "1.25E-10", "12"},
                    {".5", "1.", "1e", "1e999", "00"});
    expect_language(schema(R"({"type": "number", "minimum": 0, "exclusiveMaximum": 1.5})"),
                    {"0", "0.5", "1", "1.4999", "1.0"},
                    {"1.5", "1.50", "-0", "-0.1", "2", "10", "1.6", "1e0"});
    expect_language(schema(R"({"type": "number", "exclusiveMinimum": -2.25, "maximum": -0.5})"),
                    {"-2.2", "-2.249", "-0.5", "-1", "-0.50"},
                    {"-2.25", "-2.250", "-0.49", "0", "1", "-3", "-20"});
    expect_language(schema(R"({"type": "number", "multipleOf": 0.05})"),
                    {"0.05", "1", "1.5", "-3.10", "0.15"}, {"0.01", "1.02", "0.051"});
}

TEST(JsonSchema, ListsOfValues) {
    expect_language(schema(R"({"enum": ["a", 1, null, {"x": [1, 2]}, 2.5, "b\"c"]})"),
                    {R"("a")", "1", "null", R"({"x":[1,2]})", R"({"x": [1, 2]})", "2.5", R"("b\"c")"},
                    {R"("b")", "2", R"({"x":[2,1]})"});
    expect_language(schema(R"({"type": "string", "enum": ["a", 1, "abc"], "minLength": 2})"), {R"("abc")"},
                    {R"("a")", "1"});
    expect_language(schema(R"({"const": "ü"})"), {R"("ü")"}, {R"("u")"});
    expect_language(schema(R"({"type": ["string", "null"], "nullable": true, "enum": ["a", null]})"),
                    {"null", R"("a")"}, {"1"});
}

TEST(JsonSchema, AlternativesAndReferences) {
    expect_language(
        schema(R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}], "title": "x"})"),
        {"1", R"("a")"}, {R"("ab")", "null"});
    expect_language(schema(R"({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]})"),
                    {"5", "1", "-3"}, {"2", "3"});
    expect_language(
        schema(
            R"({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"maximum": 3}}}], "description": "d",
        "$defs": {"a": {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "integer", "minimum": 1}},
        "required": ["y"]}}})"),
        {R"({"x":"","y":1})", R"({"y":3})"}, {R"({"y":4})", R"({"y":0})", "{}"});
    expect_language(
        schema(R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"v": {"type":
        "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}}, "required": ["v", "next"]}}})"),
        {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
        {R"({"v":1,"next":{"v":2}})"});
    expect_language(schema(R"({"type": "array", "items": {"$ref": "#"}})"), {"[]", "[[],[[]]]"}, {"[1]"});
    expect_language(schema(R"({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"const": 1}}})"), {"1"}, {"2"});
}

TEST(JsonSchema, OneOfHasToExclude) {
    expect_language(
        schema(R"({"oneOf": [{"type": "object", "properties": {"t": {"const": "a"}, "x": {"type": "integer"}},
        "required": ["t", "x"]}, {"type": "object", "properties": {"t": {"const": "b"}}, "required": ["t"]},
        {"type": "integer", "minimum": 3}, {"type": "integer", "maximum": 2}, {"type": "string", "pattern": "^a"},
        {"type": "string", "pattern": "^b"}]})"),
        {R"({"t":"a","x":1})", R"({"t":"b"})", "1", "5", R"("a")", R"("bx")"}, {R"({"t":"a"})", R"("c")"});
    EXPECT_THAT(
        schema_error(R"({"properties": {"p": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}})"),
        HasSubstr("#/properties/p/oneOf: its alternatives may overlap; use anyOf"));
    EXPECT_THAT(
        schema_error(
            R"({"oneOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]})"),
        HasSubstr("overlap"));
}

TEST(JsonSchema, NamesWhatItRefuses) {
    EXPECT_THAT(schema_error(R"({"properties": {"a/b": {"not": {}}}})"),
                HasSubstr("#/properties/a~1b/not: is not supported"));
    EXPECT_THAT(schema_error(R"({"items": {"uniqueItems": true}})"), HasSubstr("#/items/uniqueItems"));
    EXPECT_THAT(schema_error(R"({"type": "int"})"), HasSubstr("#/type"));
    EXPECT_THAT(schema_error(R"({"$ref": "#/$defs/x"})"), HasSubstr("#/$ref: refers to nothing"));
    EXPECT_THAT(schema_error(R"({"$ref": "http://x"})"), HasSubstr("#/$ref: only references within"));
    EXPECT_THAT(schema_error(R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})"),
                HasSubstr("leads to itself"));
    EXPECT_THAT(schema_error(R"({"anyOf": []})"), HasSubstr("#/anyOf"));
    EXPECT_THAT(schema_error(R"({"minLength": -1})"), HasSubstr("#/minLength"));
    EXPECT_THAT(schema_error(R"({"required": [1]})"), HasSubstr("#/required"));
    EXPECT_THAT(schema_error(R"([])"), HasSubstr("#: is not a schema"));
    EXPECT_THAT(schema_error(R"(false)"), HasSubstr("nothing can satisfy"));
    EXPECT_THAT(schema_error(R"({"items": {"pattern": "(a"}})"), HasSubstr("#/items"));
    EXPECT_THAT(schema_error(R"({"type": "object", "properties": {"a": {}}, "minProperties": 1})"),
                HasSubstr("minProperties"));
    expect_language(
        schema(R"({"type": "null", "x-mine": 1, "default": 3, "examples": [], "uniqueItems": false})"),
        {"null"}, {"1"});
}

TEST(JsonSchema, OpenAsTheStandardHasIt) {
    const auto open = [](const char* text) { return compile_open_json_schema(Json::parse(text)); };
    expect_language(open(R"({"type": "object", "properties": {"a": {"type": "integer"}}})"),
                    {R"({"a":1,"b":2})", R"({"b":2})"}, {R"({"a":""})"});
    expect_language(open(R"({"type": "array", "prefixItems": [{"type": "integer"}]})"), {"[]", "[1,\"a\"]"},
                    {"[\"a\"]"});
}

TEST(JsonSchema, AnyObject) {
    expect_language(compile_json_object(), {"{}", R"({"a": [1, {"b": null}], "c": "d"})"},
                    {"[]", "1", "{", "{}{}"});
}

TEST(JsonSchema, HostileSchemasAreRefused) {
    Json deep = {{"type", "integer"}};
    for (int i = 0; i < 150; ++i) deep = {{"items", deep}};
    EXPECT_THAT(grammar_error([&] { compile_json_schema(deep); }), HasSubstr("levels deep"));
    Json wide = {{"enum", Json::array()}};
    for (int i = 0; i < 100'000; ++i) wide["enum"].push_back("value" + std::to_string(i));
    EXPECT_THAT(grammar_error([&] { compile_json_schema(wide); }), HasSubstr("bytes"));
    Json many = {{"allOf", Json::array()}};
    for (int i = 0; i < 40; ++i)
        many["allOf"].push_back(
            Json::parse(R"({"anyOf": [{"minimum": 1}, {"maximum": 5}, {"minLength": 1}]})"));
    EXPECT_THAT(grammar_error([&] { compile_json_schema(many); }), HasSubstr("too many ways"));
    EXPECT_THAT(
        schema_error(
            R"({"pattern": "^(a|b)*a(a|b){20}$", "patternProperties": {"(a|b)*a(a|b){20}$": {}}, "type": "object"})"),
        HasSubstr("states"));
}

}  // namespace
}  // namespace cachalot::grammar::test
