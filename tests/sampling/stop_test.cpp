#include "sampling/stop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Outcome {
    std::string text;
    std::string matched;
    bool operator==(const Outcome&) const = default;
};

// What the whole text must give: the stop string whose end comes first, and of those the longest.
Outcome expected(const std::string& text, const std::vector<std::string>& stops) {
    for (std::size_t end = 1; end <= text.size(); ++end) {
        Outcome best;
        const auto head = text.substr(0, end);
        for (const auto& stop : stops)
            if (head.ends_with(stop) && stop.size() > best.matched.size())
                best = {head.substr(0, end - stop.size()), stop};
        if (!best.matched.empty()) return best;
    }
    return {text, ""};
}

// The longest suffix of `text` that is a proper prefix of a stop string.
std::size_t must_hold(const std::string& text, const std::vector<std::string>& stops) {
    std::size_t hold = 0;
    for (const auto& stop : stops)
        for (std::size_t n = 1; n < stop.size(); ++n)
            if (text.ends_with(stop.substr(0, n))) hold = std::max(hold, n);
    return hold;
}

rc::Gen<std::string> text_of_two_letters(std::size_t at_least) {
    return rc::gen::suchThat(rc::gen::container<std::string>(rc::gen::element('a', 'b')),
                             [=](const std::string& s) { return s.size() >= at_least; });
}

TEST(StopMatcher, AnySplitGivesTheSameText) {
    EXPECT_TRUE(rc::check([] {
        const auto stops = *rc::gen::resize(
            5, rc::gen::suchThat(rc::gen::container<std::vector<std::string>>(text_of_two_letters(1)),
                                 [](const auto& v) { return v.size() <= kMaxStopStrings; }));
        const auto pieces =
            *rc::gen::resize(12, rc::gen::container<std::vector<std::string>>(text_of_two_letters(0)));
        StopMatcher matcher(stops);
        std::string whole, shown;
        bool matched = false;
        for (const auto& piece : pieces) {
            whole += piece;
            auto result = matcher.push(piece);
            shown += result.text;
            matched = result.matched;
            RC_ASSERT(matched == !expected(whole, stops).matched.empty());
            if (!matched) RC_ASSERT(whole.size() - shown.size() == must_hold(whole, stops));
        }
        shown += matcher.finish();
        RC_ASSERT((Outcome{shown, matcher.matched()} == expected(whole, stops)));
    }));
}

TEST(StopMatcher, ShowsWhatCannotBecomeAStopStringAtOnce) {
    StopMatcher matcher({"</end>"});
    EXPECT_EQ(matcher.push("a < b, ").text, "a < b, ");
    EXPECT_EQ(matcher.push("x<").text, "x");
    EXPECT_EQ(matcher.push("/e").text, "");
    EXPECT_EQ(matcher.push("x ").text, "</ex ");
    EXPECT_EQ(matcher.push("done</").text, "done");
    auto last = matcher.push("end> more");
    EXPECT_TRUE(last.matched);
    EXPECT_EQ(last.text, "");
    EXPECT_EQ(matcher.matched(), "</end>");
    EXPECT_EQ(matcher.finish(), "");
    EXPECT_EQ(matcher.push("later").text, "");
    EXPECT_TRUE(matcher.push("later").matched);
}

TEST(StopMatcher, GivesBackWhatItHeldWhenTheTextEnds) {
    StopMatcher matcher({"STOP"});
    EXPECT_EQ(matcher.push("go STO").text, "go ");
    EXPECT_EQ(matcher.finish(), "STO");
}

TEST(StopMatcher, TheFirstToBeCompletedWins) {
    StopMatcher inner({"abcd", "bc"});
    auto result = inner.push("xabcd");
    EXPECT_TRUE(result.matched);
    EXPECT_EQ(result.text, "xa");
    EXPECT_EQ(inner.matched(), "bc");

    StopMatcher together({"c", "abc", "bc"});
    EXPECT_EQ(together.push("xabc").text, "x");
    EXPECT_EQ(together.matched(), "abc");
}

TEST(StopMatcher, RepeatedBeginningsAreNotMissed) {
    StopMatcher matcher({"aab"});
    EXPECT_EQ(matcher.push("aaa").text, "a");
    auto result = matcher.push("ab");
    EXPECT_TRUE(result.matched);
    EXPECT_EQ(result.text, "a");  // of aaaab
}

TEST(StopMatcher, NeverCutsACharacter) {
    StopMatcher matcher({"né"});
    EXPECT_EQ(matcher.push("nè").text, "nè");  // shares its first two bytes with the stop string
    EXPECT_EQ(matcher.push("n").text, "");
    EXPECT_TRUE(matcher.push("é").matched);
}

TEST(StopMatcher, WithoutStopStringsEverythingPasses) {
    StopMatcher matcher;
    EXPECT_EQ(matcher.push("anything").text, "anything");
    EXPECT_FALSE(matcher.push("").matched);
}

TEST(StopMatcher, RefusesUnusableStopStrings) {
    EXPECT_THAT([] { StopMatcher({"a", ""}); }, ThrowsMessage<Error>(HasSubstr("stop: string 2 is empty")));
    EXPECT_THAT([] { StopMatcher(std::vector<std::string>(17, "a")); },
                ThrowsMessage<Error>(HasSubstr("at most 16")));
    EXPECT_THAT([] { StopMatcher({std::string(1025, 'a')}); }, ThrowsMessage<Error>(HasSubstr("1025 bytes")));
}

}  // namespace
}  // namespace cachalot
