#include "grammar/grammar_constraint.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "grammar/regex.h"
#include "grammar_test.h"
#include "sampling/small_tokenizer.h"

namespace cachalot::grammar::test {
namespace {

using cachalot::test::id;
using cachalot::test::tokenizer;

constexpr std::int32_t kEos = 1;

std::shared_ptr<const TokenTrie> trie() {
    static const auto kTrie = make_token_trie(tokenizer());
    return kTrie;
}

std::vector<std::string> allowed(GrammarConstraint& constraint) {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 0.0F);
    constraint.mask(logits);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (logits[i] == 0.0F) texts.push_back(tokenizer().bytes(static_cast<std::int32_t>(i)));
    return texts;
}

using Texts = std::vector<std::string>;

TEST(GrammarConstraint, EndsWhereTheTextMayEnd) {
    GrammarConstraint constraint(compile_regex("(get)+"), trie(), {kEos});
    EXPECT_EQ(allowed(constraint), (Texts{"g", "ge", "get"}));
    EXPECT_FALSE(constraint.complete());
    constraint.accept(id("get"));
    EXPECT_TRUE(constraint.complete());
    EXPECT_EQ(allowed(constraint), (Texts{"<eos>", "g", "ge", "get"}));
    constraint.accept(id("ge"));
    EXPECT_EQ(allowed(constraint), (Texts{"t"}));
    EXPECT_FALSE(constraint.allows(kEos));
    constraint.rollback(1);
    EXPECT_TRUE(constraint.allows(kEos));
    constraint.accept(kEos);
    EXPECT_EQ(allowed(constraint), (Texts{"<eos>"}));
}

TEST(GrammarConstraint, BehindAForeignTokenTheAnswerEnds) {
    GrammarConstraint constraint(compile_regex("(get)+"), trie(), {kEos});
    constraint.accept(id("tool"));
    EXPECT_EQ(allowed(constraint), (Texts{"<eos>"}));
    EXPECT_FALSE(constraint.allows(id("get")));
    EXPECT_TRUE(constraint.allows(kEos));
    constraint.accept(id("get"));
    constraint.rollback(2);
    EXPECT_EQ(allowed(constraint), (Texts{"g", "ge", "get"}));
}

TEST(GrammarConstraint, SpecialTokensAreNoText) {
    GrammarConstraint constraint(compile_regex("[^x]*"), trie(), {kEos});
    EXPECT_TRUE(constraint.allows(id("tool")));
    EXPECT_FALSE(constraint.allows(*tokenizer().find("｜DSML｜")));
    EXPECT_FALSE(constraint.allows(tokenizer().bos()));
}

TEST(GrammarConstraint, LongAnswersChangeArenas) {
    // Brackets that differ in each level: no state comes twice.
    const auto grammar = schema(R"({"type": "array", "items": {"$ref": "#"}})");
    GrammarConstraint constraint(grammar, trie(), {kEos});
    GrammarConstraint other(grammar, trie(), {kEos});
    constexpr int kDepth = 60'000;
    for (int i = 0; i < kDepth; ++i) constraint.accept(id("["));
    for (int i = 0; i < kDepth; ++i) {
        ASSERT_TRUE(constraint.allows(id("]")));
        constraint.accept(id("]"));
    }
    EXPECT_TRUE(constraint.complete());
    constraint.rollback(kDepth + 10);
    EXPECT_FALSE(constraint.complete());
    EXPECT_TRUE(constraint.allows(id("[")));
    EXPECT_FALSE(other.complete());
    EXPECT_TRUE(other.allows(id("[")));
}

TEST(GrammarConstraint, AnswersShareAGrammarBetweenThreads) {
    const auto grammar =
        schema(R"({"type": "object", "additionalProperties": {"type": "string", "maxLength": 20}})");
    std::vector<std::thread> threads;
    std::vector<std::string> masks(4);
    for (std::string& seen : masks)
        threads.emplace_back([&] {
            GrammarConstraint constraint(grammar, trie(), {kEos});
            for (const char c : std::string(R"({"get":"tool tool","too":"x"})")) {
                for (const auto& text : allowed(constraint)) seen += text;
                constraint.accept(id(std::string(1, c)));
            }
            for (const auto& text : allowed(constraint)) seen += text;
        });
    for (auto& thread : threads) thread.join();
    for (const auto& seen : masks) EXPECT_EQ(seen, masks[0]);
    EXPECT_TRUE(masks[0].ends_with("<eos>"));
}

}  // namespace
}  // namespace cachalot::grammar::test
