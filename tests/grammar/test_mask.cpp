// Masks against brute force: every token of a vocabulary is tried byte by byte.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "grammar/ebnf.h"
#include "grammar/grammar_constraint.h"
#include "grammar/regex.h"
#include "grammar/regex_parser.h"
#include "grammar/states.h"
#include "grammar/token_trie.h"
#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

using Random = std::mt19937;

std::uint32_t below(Random& random, std::uint32_t most) {
    return static_cast<std::uint32_t>(random() % most);
}

// A regular expression over a, b and c.
std::string random_pattern(Random& random, int depth) {
    const auto kind = below(random, depth > 0 ? 8 : 3);
    const auto inner = [&] { return random_pattern(random, depth - 1); };
    switch (kind) {
        case 0: return std::string(1, static_cast<char>('a' + below(random, 3)));
        case 1: return "[ab]";
        case 2: return "[^b]";
        case 3: return inner() + inner();
        case 4: return "(?:" + inner() + "|" + inner() + ")";
        case 5: return "(?:" + inner() + ")" + std::string(1, "*+?"[below(random, 3)]);
        case 6:
            return "(?:" + inner() + "){" + std::to_string(below(random, 2)) + "," +
                   std::to_string(1 + below(random, 3)) + "}";
        default: return inner() + "(?:" + inner() + "){2}";
    }
}

// A grammar of some rules, each of which begins with a letter, so that it may call any other.
std::string random_grammar(Random& random) {
    const auto rules = 1 + below(random, 4);
    std::string text;
    for (std::uint32_t i = 0; i < rules; ++i) {
        text += (i == 0 ? std::string("root") : "r" + std::to_string(i)) + " ::= ";
        const auto alternatives = 1 + below(random, 3);
        for (std::uint32_t a = 0; a < alternatives; ++a) {
            if (a > 0) text += " | ";
            text += std::string("\"") + "abc"[below(random, 3)] + "\"";
            const auto parts = a == 0 ? 0 : below(random, 4);
            for (std::uint32_t p = 0; p < parts; ++p) {
                const auto rule = below(random, rules);
                const std::string name = rule == 0 ? "root" : "r" + std::to_string(rule);
                const char* const times[] = {"", "?", "*", "+", "{1,2}", "{2,}", "{0,3}"};
                text += " " + (below(random, 3) == 0 ? "[a-b]" : name) + times[below(random, 7)];
            }
        }
        text += "\n";
    }
    return text;
}

std::vector<std::string> random_vocabulary(Random& random) {
    std::set<std::string> tokens = {"a", "b", "c"};
    while (tokens.size() < 60) {
        std::string token;
        for (auto i = 1 + below(random, 7); i > 0; --i) token += "abcabcabcd\xC3"[below(random, 11)];
        tokens.insert(token);
    }
    return {tokens.begin(), tokens.end()};
}

std::vector<Symbol> symbols(std::string_view text) {
    std::vector<Symbol> all;
    for (const char c : text) all.push_back(static_cast<unsigned char>(c));
    return all;
}

// Walks through a grammar at random; at each step the mask has to be what brute force says.
void check_masks(const GrammarPtr& grammar, const std::vector<std::string>& vocabulary, Random& random,
                 int steps) {
    std::vector<std::string_view> bytes(vocabulary.begin(), vocabulary.end());
    bytes.emplace_back();  // the end
    const auto trie = std::make_shared<const TokenTrie>(bytes, nullptr);
    const auto end = static_cast<std::int32_t>(vocabulary.size());
    GrammarConstraint constraint(grammar, trie, {end});
    std::vector<std::vector<float>> before;
    std::string text;
    std::size_t accepted = 0;
    for (int step = 0; step < steps; ++step) {
        Position at = grammar->states().next(grammar->states().begin(), symbols(text));
        ASSERT_TRUE(at.state);
        std::vector<float> logits(vocabulary.size() + 1, 1.0F);
        constraint.mask(logits);
        std::vector<std::int32_t> may;
        bool goes_on = false;
        for (int byte = 0; byte < 256; ++byte) {
            const auto symbol = static_cast<Symbol>(byte);
            goes_on = goes_on || grammar->states().next(at, {&symbol, 1}).state;
        }
        ASSERT_TRUE(goes_on || at.state->ends) << "a dead end behind " << text;
        std::vector<bool> fits;
        for (const auto& token : vocabulary) fits.push_back(grammar->states().next(at, symbols(token)).state);
        if (!at.state->ends && std::find(fits.begin(), fits.end(), true) == fits.end())
            break;  // no mask then
        for (std::size_t i = 0; i < vocabulary.size(); ++i) {
            const bool right = fits[i];
            ASSERT_EQ(logits[i] == 1.0F, right) << vocabulary[i] << " behind " << text;
            ASSERT_EQ(constraint.allows(static_cast<std::int32_t>(i)), right);
            if (right) may.push_back(static_cast<std::int32_t>(i));
        }
        ASSERT_EQ(logits.back() == 1.0F, matches(*grammar, text));
        before.push_back(logits);
        if (may.empty()) break;
        const auto token = may[below(random, static_cast<std::uint32_t>(may.size()))];
        constraint.accept(token);
        ++accepted;
        text += vocabulary[static_cast<std::size_t>(token)];
    }
    // Taken back one by one, every mask is what it was.
    for (; !before.empty(); before.pop_back()) {
        if (accepted == before.size()) constraint.rollback(1), --accepted;
        std::vector<float> again(vocabulary.size() + 1, 1.0F);
        constraint.mask(again);
        ASSERT_EQ(again, before.back());
    }
}

RC_GTEST_PROP(Mask, IsBruteForceForRandomGrammars, (std::uint32_t seed)) {
    Random random(seed);
    const std::string text = random_grammar(random);
    SCOPED_TRACE(text);
    const auto vocabulary = random_vocabulary(random);
    check_masks(compile_gbnf(text), vocabulary, random, 12);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
}

RC_GTEST_PROP(Mask, IsBruteForceForRandomPatterns, (std::uint32_t seed)) {
    Random random(seed);
    const std::string pattern = random_pattern(random, 4);
    SCOPED_TRACE(pattern);
    check_masks(compile_regex(pattern), random_vocabulary(random), random, 12);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
}

// Where in the text an expression that begins at one of these places can end: the definition, word by word.
std::set<std::size_t> ends_of(const Expr& expr, std::string_view text, const std::set<std::size_t>& begins) {
    std::set<std::size_t> ends;
    switch (expr.kind) {
        case Expr::characters:
            for (const auto at : begins)
                if (at < text.size() && expr.set.has(static_cast<unsigned char>(text[at])))
                    ends.insert(at + 1);
            return ends;
        case Expr::choice:
            for (const Expr& part : expr.parts) ends.merge(ends_of(part, text, begins));
            return ends;
        case Expr::repeat: {
            std::set<std::size_t> now = begins;
            for (std::uint32_t i = 0; i <= std::min<std::uint32_t>(expr.most, 20) && !now.empty(); ++i) {
                if (i >= expr.least) ends.insert(now.begin(), now.end());
                now = ends_of(expr.parts[0], text, now);
            }
            return ends;
        }
        default:
            ends = begins;
            for (const Expr& part : expr.parts) ends = ends_of(part, text, ends);
            return ends;
    }
}

RC_GTEST_PROP(Regex, AgreesWithItsDefinition, (std::uint32_t seed)) {
    Random random(seed);
    const std::string pattern = random_pattern(random, 4);
    const Expr expr = parse_regex(pattern).main;
    const auto grammar = compile_regex(pattern);
    const auto anchored =
        compile_regex("(?:" + pattern + "$|^c^c)");  // by way of an automaton over characters
    for (int i = 0; i < 40; ++i) {
        std::string text;
        for (auto n = below(random, 9); n > 0; --n) text += static_cast<char>('a' + below(random, 3));
        const bool right = ends_of(expr, text, {0}).contains(text.size());
        RC_ASSERT(matches(*grammar, text) == right);
        RC_ASSERT(matches(*anchored, text) == right);
    }
}

TEST(Mask, CountsOfAnySizeShareMasksAndAreExact) {
    Random random(7);
    for (const std::size_t longest : {128, 200}) {
        std::vector<std::string> vocabulary = {"b", "ab", "abab", "ba"};
        for (const std::size_t length : {1, 2, 3, 16, 17, 100, 127}) vocabulary.emplace_back(length, 'a');
        vocabulary.emplace_back(longest, 'a');
        for (const char* pattern :
             {"(?:ab?){150,400}", "(?:a|ab){0,300}b", "a{129}", "(?:a{3}){100,}b", "a{33}b?"}) {
            SCOPED_TRACE(pattern);
            const auto grammar = compile_regex(pattern);
            for (int round = 0; round < 4; ++round) check_masks(grammar, vocabulary, random, 40);
        }
    }
}

TEST(Mask, OfJsonSchemas) {
    std::vector<std::string> vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(1, static_cast<char>(byte));
    for (const char* token :
         {"{\"",  "\":",  "\",\"", "\"}",   "}}",   "},{",   "]}",  "[[",       "null",
          "true", "12",   ".5",    "name",  "na",   "\"na",  "é\"", "\xF0\x9F", "\x98\x80",
          "  ",   "\n  ", " \"",   "\\u00", "\\\"", "2024-", "-0",  "@"})
        vocabulary.emplace_back(token);
    Random random(11);
    for (
        const char* text :
        {R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 4}, "n": {"type": "number", "minimum": 0,
             "maximum": 20}}, "required": ["name"]})",
         R"({"type": "array", "items": {"$ref": "#"}, "maxItems": 3})",
         R"({"type": "object", "additionalProperties": {"type": ["string", "null", "boolean"]}})",
         R"({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "email"}, {"enum": ["name", "nam", 12]}]})"}) {
        SCOPED_TRACE(text);
        for (int round = 0; round < 6; ++round) check_masks(schema(text), vocabulary, random, 30);
    }
}

TEST(Mask, LeavesSomethingWhereOthersForbidAllThatFits) {
    const auto trie = std::make_shared<const TokenTrie>(std::vector<std::string_view>{"a", "b", ""}, nullptr);
    GrammarConstraint constraint(compile_regex("a"), trie, {2});
    const float never = -std::numeric_limits<float>::infinity();
    std::vector<float> logits = {never, 1.0F, 2.0F};
    constraint.mask(logits);
    EXPECT_EQ(logits, (std::vector<float>{never, 1.0F, 2.0F}));
}

}  // namespace
}  // namespace cachalot::grammar::test
