#include "text/utf8.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace cachalot {
namespace {

using namespace std::string_literals;

TEST(Utf8, EveryScalarValueSurvives) {
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
        if (c >= 0xD800 && c < 0xE000) continue;
        std::string bytes;
        append_utf8(bytes, c);
        ASSERT_EQ(bytes.size(), c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        const Utf8Char decoded = decode_utf8(bytes);
        ASSERT_TRUE(decoded.valid);
        ASSERT_TRUE(decoded.code_point == c) << std::uint32_t{c};
        ASSERT_EQ(decoded.length, bytes.size());
        for (std::size_t n = 1; n < bytes.size(); ++n)
            ASSERT_EQ(incomplete_utf8_suffix(std::string("x").append(bytes, 0, n)), n) << std::uint32_t{c};
        ASSERT_EQ(incomplete_utf8_suffix(bytes), 0);
    }
}

TEST(Utf8, WhatIsNoScalarValueIsAppendedAsReplacement) {
    std::string bytes;
    append_utf8(bytes, 0xD800);
    append_utf8(bytes, 0xDFFF);
    append_utf8(bytes, 0x110000);
    EXPECT_EQ(bytes, "\uFFFD\uFFFD\uFFFD");
}

// One U+FFFD for each maximal subpart: the examples of the Unicode standard, section 3.9, and others.
TEST(Utf8, RepairsByMaximalSubparts) {
    const std::string bad = "\uFFFD";
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"", ""},
        {"plain \u00e9 \u6f22 \U0001F40B", "plain \u00e9 \u6f22 \U0001F40B"},
        {"\xC0\xAF", bad + bad},                                                // overlong "/"
        {"\xE0\x80\xAF", bad + bad + bad},                                      // overlong "/"
        {"\xF0\x80\x80\xAF", bad + bad + bad + bad},                            // overlong "/"
        {"\xED\xA0\x80", bad + bad + bad},                                      // surrogate D800
        {"\xED\xBF\xBF", bad + bad + bad},                                      // surrogate DFFF
        {"\xF4\x90\x80\x80", bad + bad + bad + bad},                            // 110000
        {"\xF5\x80", bad + bad},                                                // above any character
        {"\xFE\xFF", bad + bad},                                                //
        {"\x80\xBF", bad + bad},                                                // continuations of nothing
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", bad + bad + bad + bad + "A"},  // truncated sequences
        {"\xE4\xBD", bad},
        {"\xF0\x9F\x98", bad},
        {"\xF0\x9F\x98y", bad + "y"},
        {"a\xC3(", "a" + bad + "("},
        {"\0a\0"s, "\0a\0"s},
    };
    for (const auto& [bytes, expected] : cases) {
        EXPECT_EQ(repair_utf8(bytes), expected);
        EXPECT_EQ(is_valid_utf8(bytes), bytes == expected);
    }
}

TEST(Utf8, ValidPrefix) {
    EXPECT_EQ(valid_utf8_prefix("12345678901234567\xFF"), 17);
    EXPECT_EQ(valid_utf8_prefix("1234567\u00e9\x80"), 9);
    EXPECT_EQ(valid_utf8_prefix("\xE6\xBC"), 0);
}

TEST(Utf8, IncompleteSuffix) {
    EXPECT_EQ(incomplete_utf8_suffix(""), 0);
    EXPECT_EQ(incomplete_utf8_suffix("\x80\x80\x80\x80"), 0);
    EXPECT_EQ(incomplete_utf8_suffix("\xC0"), 0);      // begins nothing
    EXPECT_EQ(incomplete_utf8_suffix("\xE0\x80"), 0);  // overlong already
    EXPECT_EQ(incomplete_utf8_suffix("\xED\xA0"), 0);  // surrogate already
    EXPECT_EQ(incomplete_utf8_suffix("\xF4\x90"), 0);  // too large already
    EXPECT_EQ(incomplete_utf8_suffix("\xC3\xA9\xC3"), 1);
    EXPECT_EQ(incomplete_utf8_suffix("\xF0\x9F\x98\xF0\x9F"), 2);
    EXPECT_EQ(incomplete_utf8_suffix("\xF0\x9F\x98"), 3);
    EXPECT_EQ(incomplete_utf8_suffix("\xC3\xA9\xA9"), 0);  // one continuation too many
}

RC_GTEST_PROP(Utf8, RepairIsValidAndKeepsWhatIsValid, ()) {
    const auto bytes = *rc::gen::container<std::string>(rc::gen::element(
        'a', '\x80', '\xBF', '\xC3', '\xE0', '\xED', '\xEF', '\xF0', '\xF4', '\xFF', '\x90', '\xA0'));
    const std::string repaired = repair_utf8(bytes);
    RC_ASSERT(is_valid_utf8(repaired));
    RC_ASSERT(repair_utf8(repaired) == repaired);
    if (is_valid_utf8(bytes)) RC_ASSERT(repaired == bytes);
}

}  // namespace
}  // namespace cachalot
