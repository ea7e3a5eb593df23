#include <gtest/gtest.h>

#include <string>

#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

TEST(JsonStrings, AnyText) {
    expect_language(
        schema(R"({"type": "string"})"),
        {R"("")", R"("a\"\\\/\b\f\n\r\té€")", R"("\u00e9\uD83D\uDE00")", "\"\U0001F600\"", "\"\x7F\""},
        {"\"\n\"", R"("\x")", R"("\ud83d")", R"("\uDE00")", R"("\ud83dx")", R"("a)", "\"\xC3\"", "\"\xFF\""});
}

TEST(JsonStrings, LengthsCountCharacters) {
    const auto grammar = schema(R"({"type": "string", "minLength": 2, "maxLength": 3})");
    expect_language(grammar, {R"("ab")", R"("äöü")", "\"\U0001F600\U0001F600\"", R"("\n\u00e9\ud83d\ude00")"},
                    {R"("a")", R"("abcd")", R"("\ud83d\ude00")"});
    const auto large = schema(R"({"type": "string", "minLength": 5, "maxLength": 900000})");
    expect_language(large, {'"' + std::string(5, 'x') + '"', '"' + std::string(10000, 'x') + '"'},
                    {R"("xxxx")"});
}

TEST(JsonStrings, Patterns) {
    expect_language(schema(R"({"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "maxLength": 5})"),
                    {R"("ab-cd")", R"("a")"}, {R"("")", R"("a-")", R"("ab-cde")"});
    expect_language(schema(R"({"type": "string", "pattern": "b.d"})"),
                    {R"("abcde")", R"("b\"d")", R"("bäd")"}, {R"("bd")", R"("b\nd")", R"("b\u0063d")"});
    expect_language(schema(R"({"type": "string", "pattern": "^\\\\\"\\t$"})"), {R"("\\\"\t")"},
                    {"\"\\\\\\\"\t\""});
    expect_language(schema(R"({"allOf": [{"type": "string", "pattern": "a"}, {"pattern": "b"}]})"),
                    {R"("ab")", R"("xbya")"}, {R"("a")", R"("b")"});
    expect_language(schema(R"({"type": "string", "pattern": "^(?!\\.)(?!.*\\.\\.)[a-z.]+$"})"), {R"("a.b")"},
                    {R"(".a")", R"("a..b")"});
}

TEST(JsonStrings, Formats) {
    const auto format = [](const std::string& name) {
        return schema(R"({"type": "string", "format": ")" + name + "\"}");
    };
    expect_language(
        format("date"), {R"("2024-02-29")", R"("2023-12-31")", R"("2000-02-29")"},
        {R"("2023-02-29")", R"("1900-02-29")", R"("2023-04-31")", R"("2023-13-01")", R"("2023-1-1")"});
    expect_language(format("date-time"), {R"("2024-02-29T12:30:00Z")", R"("2024-01-01t00:00:00.25+05:30")"},
                    {R"("2024-02-29")", R"("2024-01-01T24:00:00Z")", R"("2024-01-01T00:00:00")"});
    expect_language(format("time"), {R"("00:00:00Z")"}, {R"("00:60:00Z")"});
    expect_language(format("duration"), {R"("P1Y2M3DT4H5M6S")", R"("P3W")", R"("PT36H")", R"("P1M")"},
                    {R"("P")", R"("P1YT")", R"("1Y")", R"("PT")"});
    expect_language(format("uuid"), {R"("123e4567-e89b-12d3-a456-426614174000")"},
                    {R"("123e4567e89b12d3a456426614174000")"});
    expect_language(format("email"), {R"("a.b+c@example.co.uk")"},
                    {R"("a@b")", R"(".a@b.de")", R"("a b@c.de")"});
    expect_language(format("ipv4"), {R"("0.10.199.255")"}, {R"("256.1.1.1")", R"("1.1.1")", R"("01.1.1.1")"});
    expect_language(
        format("ipv6"),
        {R"("::")", R"("1::")", R"("::1")", R"("2001:db8::8a2e:370:7334")", R"("1:2:3:4:5:6:7:8")",
         R"("::ffff:192.0.2.1")", R"("1:2:3:4:5:6::8")"},
        {R"("1:2:3:4:5:6:7")", R"("1::2::3")", R"(":1")", R"("12345::")", R"("1:2:3:4:5:6:7:8:9")"});
    expect_language(format("uri"),
                    {R"("https://example.com:80/a/b?c=d#e")", R"("mailto:a@b.de")", R"("urn:x:y")"},
                    {R"("example.com")", R"("http://")", R"("http://a b")", R"("//a")"});
    expect_language(format("hostname"), {R"("a-b.example")"}, {R"("-a")", R"("a..b")", R"("a_b")"});
    expect_language(format("password"), {R"("anything")"}, {"1"});
}

}  // namespace
}  // namespace cachalot::grammar::test
