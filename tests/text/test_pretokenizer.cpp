#include "text/pretokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace cachalot {
namespace {

using testing::ElementsAre;

TEST(Pretokenizer, Words) {
    EXPECT_THAT(pretokenize(""), ElementsAre());
    EXPECT_THAT(pretokenize("Hello world"), ElementsAre("Hello", " world"));
    EXPECT_THAT(pretokenize("it's x.y"), ElementsAre("it", "'s", " x", ".y"));
    EXPECT_THAT(pretokenize("f(x) {\n\n  y"), ElementsAre("f", "(x", ")", " {\n\n", " ", " y"));
    EXPECT_THAT(pretokenize("e\u0301a\u0300 \u0301x"), ElementsAre("e\u0301a\u0300", " \u0301x"));
}

TEST(Pretokenizer, DigitsInThrees) {
    EXPECT_THAT(pretokenize("1234567"), ElementsAre("123", "456", "7"));
    EXPECT_THAT(pretokenize("a12b"), ElementsAre("a", "12", "b"));
}

TEST(Pretokenizer, HanAndKanaTogether) {
    EXPECT_THAT(pretokenize("漢字かなカナabc"), ElementsAre("漢字かなカナ", "abc"));
    EXPECT_THAT(pretokenize("ア・イ"), ElementsAre("ア", "・", "イ"));  // the middle dot is punctuation
}

// The patterns run in sequence: white space before a digit or Han character ends its piece, so none is split
// off.
TEST(Pretokenizer, SpacesBeforeADigitStayTogether) {
    EXPECT_THAT(pretokenize("a  b"), ElementsAre("a", " ", " b"));
    EXPECT_THAT(pretokenize("a  1"), ElementsAre("a", "  ", "1"));
    EXPECT_THAT(pretokenize("a  漢"), ElementsAre("a", "  ", "漢"));
}

TEST(Pretokenizer, WhiteSpaceIsUnicodes) {
    for (const char* space :
         {"\t", "\v", "\u0085", "\u00A0", "\u1680", "\u200A", "\u2028", "\u202F", "\u3000"})
        EXPECT_THAT(pretokenize(space + std::string(space) + "."), ElementsAre(space, space, ".")) << space;
    // These are not white space, so nothing is split off the run before the full stop.
    for (const char* other : {"\x1C", "\x1F", "\u180E", "\u200B", "\u2060", "\uFEFF"})
        EXPECT_THAT(pretokenize(other + std::string(other) + "."),
                    ElementsAre(other + std::string(other), "."));
}

TEST(Pretokenizer, InvalidBytesArePiecesOfTheirOwn) {
    EXPECT_THAT(pretokenize("ab\xE4\xBD\xFF"
                            "cd"),
                ElementsAre("ab", "\xE4\xBD\xFF", "cd"));
    EXPECT_THAT(pretokenize("\xFF"), ElementsAre("\xFF"));
}

RC_GTEST_PROP(Pretokenizer, PiecesMakeUpTheText, (const std::string& text)) {
    std::string joined;
    for (const std::string_view piece : pretokenize(text)) {
        RC_ASSERT(!piece.empty());
        joined += piece;
    }
    RC_ASSERT(joined == text);
}

TEST(Pretokenizer, StopsWhenTold) {
    for (const char* text : {"a b c d", "1a2b3", "漢字a", "\xFFx\xFFy", "a 1 漢 b"}) {
        const auto all = pretokenize(text);
        for (std::size_t wanted = 1; wanted <= all.size(); ++wanted) {
            std::vector<std::string_view> seen;
            pretokenize(text, [&](std::string_view piece) {
                seen.push_back(piece);
                return seen.size() < wanted;
            });
            EXPECT_EQ(seen, std::vector<std::string_view>(all.begin(),
                                                          all.begin() + static_cast<std::ptrdiff_t>(wanted)));
        }
    }
}

// Quadratic behaviour or a limit of the regex engine would show here.
TEST(Pretokenizer, LongRuns) {
    constexpr std::size_t kCount = 1 << 20;
    const auto repeat = [](const std::string& unit) {
        std::string text;
        for (std::size_t i = 0; i < kCount; ++i) text += unit;
        return text;
    };
    EXPECT_EQ(pretokenize(repeat(" ")).size(), 1);
    EXPECT_EQ(pretokenize(repeat(" ") + "x").size(), 2);
    EXPECT_EQ(pretokenize(repeat("\n")).size(), 1);
    EXPECT_EQ(pretokenize("\n" + repeat(" ") + "x").size(), 3);
    EXPECT_EQ(pretokenize(repeat("\n ") + "x").size(), 2);
    EXPECT_EQ(pretokenize(repeat("a")).size(), 1);
    EXPECT_EQ(pretokenize(repeat("漢")).size(), 1);
    EXPECT_EQ(pretokenize(repeat("=")).size(), 1);
    EXPECT_EQ(pretokenize(repeat("\u0301")).size(), 1);
    EXPECT_EQ(pretokenize(std::string(kCount, '\0')).size(), 1);
    EXPECT_EQ(pretokenize(repeat("\xFF")).size(), 1);
    EXPECT_EQ(pretokenize(repeat("1")).size(), (kCount + 2) / 3);
}

}  // namespace
}  // namespace cachalot
