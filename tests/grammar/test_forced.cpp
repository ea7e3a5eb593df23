// Forced tokens are those into which the tokenizer divides the whole text.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "grammar/grammar_constraint.h"
#include "grammar/regex.h"
#include "grammar/states.h"
#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

const Tokenizer& nano_tokenizer() {
    static const Tokenizer kTokenizer = [] {
        const std::string path = std::string(CACHALOT_TEST_DATA) + "/tokenizer/nano.json";
        std::ifstream file(path);
        return Tokenizer::from_json({std::istreambuf_iterator<char>(file), {}}, path);
    }();
    return kTokenizer;
}

std::shared_ptr<const TokenTrie> nano_trie() {
    static const auto kTrie = make_token_trie(nano_tokenizer());
    return kTrie;
}

TEST(Forced, TheOnlyWayInTokensOfTheTokenizer) {
    const std::string text = "The only way is this long sentence, word by word; and so it ends.";
    const auto tokens = nano_tokenizer().encode(text, SpecialTokens::literal);
    GrammarConstraint constraint(
        compile_regex("The only way is this long sentence, word by word; and so it ends\\."), nano_trie(),
        {nano_tokenizer().eos()});
    const auto forced = constraint.forced();
    ASSERT_GT(forced.size(), tokens.size() / 2);
    ASSERT_LT(forced.size(), tokens.size());  // the last piece might be longer
    EXPECT_TRUE(std::equal(forced.begin(), forced.end(), tokens.begin()));
    EXPECT_TRUE(constraint.allows(forced[0]));
    EXPECT_FALSE(constraint.allows(
        nano_tokenizer().find("T").value() == forced[0] ? forced[1] : nano_tokenizer().find("T").value()));
}

TEST(Forced, NoneWhereThereIsAChoice) {
    GrammarConstraint constraint(compile_regex("(?:yes|no)"), nano_trie(), {nano_tokenizer().eos()});
    EXPECT_TRUE(constraint.forced().empty());
}

// Texts are cut at random places by forced tokens and others; all of it together has to be the tokens of the
// whole.
TEST(Forced, NeverDivideOtherwiseThanTheTokenizer) {
    std::mt19937 random(3);
    const std::vector<std::string> words = {"alpha", " beta",  "12345",  ", ",         "\n\n",  "  ",
                                            "über",  "\": \"", "日本語", "\U0001F600", "don't", "..."};
    std::size_t forced_tokens = 0;
    for (int round = 0; round < 60; ++round) {
        std::string text;
        for (int i = 0; i < 12; ++i) text += words[random() % words.size()];
        std::string pattern;
        for (const char c : text)
            pattern += std::string_view("\\.[]{}()*+?^$|").find(c) != std::string_view::npos
                           ? std::string("\\") + c
                           : std::string(1, c);
        GrammarConstraint constraint(compile_regex("(?:" + pattern + ")X?"), nano_trie(),
                                     {nano_tokenizer().eos()});
        const auto tokens = nano_tokenizer().encode(text, SpecialTokens::literal);
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const auto forced = constraint.forced();
            forced_tokens += forced.size();
            for (std::size_t k = 0; k < forced.size(); ++k)
                ASSERT_EQ(forced[k], tokens[i + k]) << text << " at " << i + k;
            constraint.accept(tokens[i]);
        }
        EXPECT_TRUE(constraint.complete());
    }
    EXPECT_GT(forced_tokens, 1000U);
}

}  // namespace
}  // namespace cachalot::grammar::test
