#include "grammar/ebnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "grammar_test.h"

namespace cachalot::grammar::test {
namespace {

using ::testing::HasSubstr;

TEST(Gbnf, ArithmeticAsInLlamaCpp) {
    const auto grammar = compile_gbnf(R"--(
        # an expression and an end of line
        root  ::= (expr "=" ws term "\n")+
        expr  ::= term ([-+*/] term)*
        term  ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num   ::= [0-9]+ ws
        ws    ::= [ \t\n]*
    )--");
    expect_language(grammar, {"a=1\n", "(a +b)*2 = c\nx=y\n"}, {"a=1", "=1\n", "(a=1\n"});
}

TEST(Gbnf, AllItsSigns) {
    expect_language(compile_gbnf("root ::= \"a\\x41\\u00e9\\\"\" . [^\\]a-c]{2,3} \"z\"?\n"),
                    {"aAé\"€xy", "aAé\"xxyzz"}, {"aAé\"xa", "aAé\"x]]"});
    expect_language(compile_gbnf("root ::= \"a\" |\n  \"b\"\n  | \"c\"\nx ::= \"d\""), {"a", "b", "c"},
                    {"d"});
    expect_language(compile_gbnf("root ::= (\n \"a\"\n \"b\" # both\n){2}"), {"abab"}, {"ab"});
    expect_language(compile_gbnf("root ::= \"\" | \"x\" root"), {"", "x", "xxx"}, {"y"});
}

TEST(Gbnf, NamesLineAndColumn) {
    const auto error = [](const char* text) { return grammar_error([&] { compile_gbnf(text); }); };
    EXPECT_THAT(error("root ::= \"a\nx ::= [a]"), HasSubstr("line 1, column 10: a \" lacks its end"));
    EXPECT_THAT(error("root ::= a\n"), HasSubstr("line 1, column 10: \"a\" is not defined"));
    EXPECT_THAT(error("a ::= \"a\""), HasSubstr("no rule \"root\""));
    EXPECT_THAT(error("root ::= \"a\"\nroot ::= \"b\""),
                HasSubstr("line 2, column 1: \"root\" is defined twice"));
    EXPECT_THAT(error("root ::= (\"a\""), HasSubstr("lacks its )"));
    EXPECT_THAT(error("root ::= <[1]>"), HasSubstr("tokens are not supported"));
    EXPECT_THAT(error("root ::= a\na ::= b\nb ::= a \"x\" | \"y\""), HasSubstr("begins with itself"));
    EXPECT_THAT(error("root ::= root \"x\""), HasSubstr("nothing can satisfy"));
    EXPECT_THAT(error(("root ::= " + std::string(300, '(')).c_str()), HasSubstr("brackets"));
}

TEST(Gbnf, RulesThatBeginWithThemselves) {
    expect_language(compile_gbnf("root ::= root \"+\" num | num\nnum ::= [0-9]"), {"1", "1+2+3"},
                    {"+1", "1+", ""});
    expect_language(compile_gbnf("root ::= a? \"x\" root | \"y\"\na ::= \"a\""), {"y", "axxy"}, {"ay"});
}

TEST(Lark, ArithmeticOfOpenAi) {
    const auto grammar = compile_lark(R"--(
        start: expr
        expr: term (SP ADD SP term)* -> add
            | term
        term: factor (SP MUL SP factor)*
        factor: INT
        SP: " "
        ADD: "+"
        MUL: "*"
        %import common.INT
    )--");
    expect_language(grammar, {"4", "1 + 2 * 3"}, {"1+2", "1 + ", "a"});
}

TEST(Lark, IgnoredTerminals) {
    const auto grammar = compile_lark(R"--(
        start: "select"i NAME ("," NAME)* ["where" NAME "=" (NUMBER | STRING)]   // a query
        NAME: /[a-z_]\w*/
        STRING: "'" /[^']*/ "'"
        %import common (NUMBER, WS)
        %ignore WS
    )--");
    expect_language(grammar, {"SELECT a , b where c='x y'", "selecta", " select x where y = 1.5e3 "},
                    {"select", "select a,", "select a where b"});
}

TEST(Lark, RangesTimesAndPriorities) {
    expect_language(compile_lark("start: A ~ 2 (\"x\"..\"z\") ~ 1..2\nA.2: \"ab\"i+"),
                    {"abABx", "ababyz", "abababx"}, {"abx", "ababxyzz"});
    expect_language(compile_lark("?start: start \"+\" T | T\n!T: /t+/"), {"t", "t+tt"}, {"+t"});
}

TEST(Lark, RefusesByName) {
    const auto error = [](const char* text) { return grammar_error([&] { compile_lark(text); }); };
    EXPECT_THAT(error("start: a{x}"), HasSubstr("templates"));
    EXPECT_THAT(error("%declare X\nstart: X"), HasSubstr("line 1, column 1: only %ignore and %import"));
    EXPECT_THAT(error("%import python.X\nstart: X"), HasSubstr("\"common\""));
    EXPECT_THAT(error("start: /a(?=b)/"), HasSubstr("looks ahead"));
    EXPECT_THAT(error("start: /^a/"), HasSubstr("^, $"));
    EXPECT_THAT(error("start: X"), HasSubstr("\"X\" is not defined"));
    EXPECT_THAT(error("begin: \"x\""), HasSubstr("\"start\" is not defined"));
}

TEST(Ebnf, TellsTheNotationsApart) {
    EXPECT_TRUE(matches(*compile_ebnf("root ::= \"a\""), "a"));
    EXPECT_TRUE(matches(*compile_ebnf("start: \"a\""), "a"));
}

TEST(Ebnf, AmbiguousNestingDoesNotExplode) {
    const auto grammar =
        compile_gbnf("root ::= \"(\" root \")\" | \"(\" root \"]\" | \"(\" root root? \")\" | \"x\"");
    std::string text = std::string(300, '(') + "x";
    for (int i = 0; i < 300; ++i) text += i % 2 == 0 ? ')' : ']';
    EXPECT_TRUE(matches(*grammar, text));
    text.pop_back();
    EXPECT_FALSE(matches(*grammar, text));
}

}  // namespace
}  // namespace cachalot::grammar::test
