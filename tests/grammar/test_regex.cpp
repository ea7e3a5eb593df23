#include "grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/choice.h"
#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

using ::testing::HasSubstr;

TEST(Regex, ClassesRangesAndRepetitions) {
    expect_language(compile_regex("a*b+c?"), {"b", "aab", "abbc"}, {"", "a", "abcc", "ba"});
    expect_language(compile_regex("[a-c]{2,3}"), {"ab", "cab"}, {"a", "abca", "ad"});
    expect_language(compile_regex("[^a-c\\d]"), {"d", "ä", "€", "\U0001F600"}, {"a", "5", "", "de"});
    expect_language(compile_regex("(?:ab|cd){2}"), {"abcd", "cdcd"}, {"ab", "abcdab"});
    expect_language(compile_regex("(x{0}y)?"), {"", "y"}, {"x", "xy"});
    expect_language(compile_regex("\\d{3}-\\w+\\.\\s"), {"123-a_9. ", "000-b.\t"}, {"12-a. ", "123-a.b"});
}

TEST(Regex, CountsFromZeroToManyWithoutCopies) {
    const auto grammar = compile_regex("(?:ab?){2,100000}");
    expect_language(grammar, {"aa", "abab", "aba" + std::string(500, 'a')},
                    {"a", "ab", "", "aab" + std::string(1, 'c')});
}

TEST(Regex, CharactersAreWhole) {
    const std::string face = "\U0001F600";
    expect_language(compile_regex("."), {"a", "é", "€", face},
                    {"\n", "\xC3", "\xA9", face.substr(0, 3), "\xED\xA0\x80", "\xC0\x80"});
    expect_language(compile_regex("[\\u{1F600}-\\u{1F64F}à-ÿ]+"), {face, "àÿ" + face},
                    {"a", "Ā", face.substr(0, 2)});
    expect_language(compile_regex("\\p{Lu}\\p{L}*\\P{L}"), {"Äöü1", "A "}, {"äA1", "A"});
}

TEST(Regex, EveryCharacterOfARangeAndNoOther) {
    const auto grammar = compile_regex("[\\u07a0-\\u0900\\uFFF0-\\u{10010}]");
    for (char32_t c = 0x700; c < 0x10100; ++c) {
        if (c == 0xA00) c = 0xFF00;
        std::string text;
        const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
        if (c < 0x800) put(0xC0 | c >> 6);
        if (c >= 0x800 && c < 0x10000) put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63));
        if (c >= 0x10000) put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63));
        put(0x80 | (c & 63));
        const bool in = (c >= 0x7A0 && c <= 0x900) || (c >= 0xFFF0 && c <= 0x10010);
        ASSERT_EQ(matches(*grammar, text), in) << static_cast<unsigned>(c);
    }
}

TEST(Regex, AnchorsAndConditions) {
    expect_language(compile_regex("^abc$"), {"abc"}, {"ab", "abcd"});
    expect_language(compile_regex("(^a|b)c$|d"), {"ac", "bc", "d"}, {"c", "ad"});
    expect_language(compile_regex("a^b|cd"), {"cd"}, {"ab", "a"});
    expect_language(compile_regex("^(?!foo)(?=.*\\d)[a-z0-9]+$"), {"fo1", "a1b"}, {"foo1", "abc", ""});
}

TEST(Regex, RefusesByColumn) {
    const auto error = [](const char* pattern) { return grammar_error([&] { compile_regex(pattern); }); };
    EXPECT_THAT(error("ab(c"), HasSubstr("has a ( without a ) (column 3)"));
    EXPECT_THAT(error("(a)\\1"), HasSubstr("refers back"));
    EXPECT_THAT(error("a\\b"), HasSubstr("border of a word"));
    EXPECT_THAT(error("a(?=b)"), HasSubstr("looks ahead"));
    EXPECT_THAT(error("(?<=b)"), HasSubstr("looks behind"));
    EXPECT_THAT(error("[a"), HasSubstr("without a ]"));
    EXPECT_THAT(error("[b-a]"), HasSubstr("range"));
    EXPECT_THAT(error("a{3,1}"), HasSubstr("wrong way round"));
    EXPECT_THAT(error("a{9999999}"), HasSubstr("repeats more than"));
    EXPECT_THAT(error("\\p{Greek}"), HasSubstr("\"Greek\""));
    EXPECT_THAT(error(")"), HasSubstr("column 1"));
    EXPECT_THAT(error("a**"), HasSubstr("cannot be repeated"));
    EXPECT_THAT(error("x^y"), HasSubstr("nothing can satisfy"));
    EXPECT_THAT(error(std::string(1000, '(').c_str()), HasSubstr("groups in one another"));
}

TEST(Regex, HostilePatternsAreAnsweredAtOnce) {
    EXPECT_THAT(grammar_error([] { compile_regex("^((((a{1000}){1000}){1000}){1000}|^b)$"); }),
                HasSubstr("states"));
    EXPECT_FALSE(matches(*compile_regex("(a|a)*b"), std::string(2000, 'a')));
    EXPECT_TRUE(matches(*compile_regex("((((((()*)*)*)*)*)*)*"), ""));
    EXPECT_TRUE(matches(*compile_regex("(((){1000000}){1000000}a)"), "a"));
    EXPECT_FALSE(matches(*compile_regex("(a*)*(a*)*(a*)*b"), std::string(2000, 'a')));
    EXPECT_TRUE(matches(*compile_regex("(a|b)*a(a|b){30}"), std::string(100, 'a')));
}

TEST(Choice, TextsWithCommonBeginnings) {
    const std::vector<std::string> choices = {"yes", "no", "not sure", "nö"};
    expect_language(compile_choice(choices), {"yes", "no", "not sure", "nö"}, {"n", "not", "yesno", ""});
    EXPECT_THAT(grammar_error([] { compile_choice({}); }), HasSubstr("empty"));
}

}  // namespace
}  // namespace cachalot::grammar::test
