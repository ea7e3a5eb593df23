#include "sampling/token_filter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "small_tokenizer.h"

namespace cachalot {
namespace {

using test::id;
using test::tokenizer;

// The texts of the tokens that may follow `text`, each of the given ones.
std::string allowed(const TokenRules& rules, const std::string& text,
                    const std::vector<std::string>& candidates) {
    TokenFilter filter(tokenizer(), rules);
    for (auto token : tokenizer().encode(text, SpecialTokens::parse)) filter.accept(token);
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0f);
    filter.mask(logits);
    std::string may;
    for (const auto& candidate : candidates)
        if (std::isfinite(logits[static_cast<std::size_t>(id(candidate))])) may += candidate + " ";
    return may;
}

TEST(TokenFilter, AfterTheTriggerOneOfTheContinuationsFollows) {
    const TokenRules rules{{}, "name=\"", {"get\">", "gone\">", "toolbox\">"}};
    const std::vector<std::string> all = {"g",    "ge", "get", "o", "t",     "to",
                                          "tool", "\"", ">",   "x", "<eos>", "｜DSML｜"};
    EXPECT_EQ(allowed(rules, "any", all), "g ge get o t to tool \" > x <eos> ｜DSML｜ ");
    EXPECT_EQ(allowed(rules, "name=\"", all), "g ge get t to tool ");
    EXPECT_EQ(allowed(rules, "name=\"g", all), "o ");
    EXPECT_EQ(allowed(rules, "name=\"get", all), "\" ");
    EXPECT_EQ(allowed(rules, "name=\"get\"", all), "> ");
    EXPECT_EQ(allowed(rules, "name=\"get\">", all), "g ge get o t to tool \" > x <eos> ｜DSML｜ ");
    EXPECT_EQ(allowed(rules, "name=\"get\">name=\"to", all), "o ");
    EXPECT_EQ(allowed(rules, "name=\"other", all), "g ge get o t to tool \" > x <eos> ｜DSML｜ ");
    EXPECT_EQ(allowed(rules, std::string(10'000, 'x').append("name=\"gon"), {"e", "x"}), "e ");
}

TEST(TokenFilter, ForbiddenTextsAreNeverCompleted) {
    const TokenRules rules{{"｜DSML｜", "<tool_", "x\n<"}, {}, {}};
    const std::vector<std::string> all = {"<", "tool", "<tool", "_", "x", "\n", "｜DSML｜"};
    EXPECT_EQ(allowed(rules, "", all), "< tool <tool _ x \n ");
    EXPECT_EQ(allowed(rules, "<tool", all), "< tool <tool x \n ");
    EXPECT_EQ(allowed(rules, "<too", {"l", "_"}), "l _ ");
    EXPECT_EQ(allowed(rules, "<tool", {"_", "s"}), "s ");
    EXPECT_EQ(allowed(rules, "x\n", all), "tool _ x \n ");
    EXPECT_EQ(allowed(rules, "y\n", all), "< tool <tool _ x \n ");
    // Where one byte after the other comes, too.
    EXPECT_EQ(allowed({{"ab"}, {}, {}}, "xa", {"a", "b"}), "a ");
    EXPECT_EQ(allowed({{"aab"}, {}, {}}, "aaa", {"a", "b"}), "a ");
}

TEST(TokenFilter, LeavesSomethingEvenIfTheContinuationsAreForbidden) {
    TokenFilter filter(tokenizer(), {{}, "=", {"a"}});
    filter.accept(id("="));
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0f);
    logits[static_cast<std::size_t>(id("a"))] = -INFINITY;
    filter.mask(logits);
    EXPECT_TRUE(std::isfinite(logits[static_cast<std::size_t>(id("b"))]));
}

}  // namespace
}  // namespace cachalot
