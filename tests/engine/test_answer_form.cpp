// Forms of answers: compiled once for all who say the same, and as many as are kept.
#include "engine/answer_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "support/nano.h"

namespace cachalot {
namespace {

using Kind = AnswerForm::Kind;

AnswerForm schema(const char* json) { return {Kind::json_schema, nlohmann::ordered_json::parse(json)}; }
AnswerForm text(Kind kind, std::string said) { return {kind, {}, std::move(said)}; }
AnswerForm choice(std::vector<std::string> choices) { return {Kind::choice, {}, {}, std::move(choices)}; }

// What the form admits of these texts.
std::vector<std::string> admitted(const AnswerForm& form, std::vector<std::string> texts) {
    const auto grammar = compile_form(form);
    std::erase_if(texts, [&](const std::string& one) { return !grammar::matches(*grammar, one); });
    return texts;
}

TEST(AnswerForm, EachKindIsTheGrammarThatItSays) {
    using testing::ElementsAre;
    EXPECT_EQ(compile_form({}), nullptr);
    EXPECT_THAT(admitted({Kind::json_object}, {"{}", "[]", "{\"a\": 1}", ""}),
                ElementsAre("{}", "{\"a\": 1}"));
    EXPECT_THAT(admitted(schema(R"({"enum": [1, "a"]})"), {"1", "a", "\"a\""}), ElementsAre("1", "\"a\""));
    EXPECT_THAT(admitted(text(Kind::regex, "a+b?"), {"aab", "b", "xaab"}), ElementsAre("aab"));
    EXPECT_THAT(admitted(choice({"a", "b c"}), {"a", "b", "b c"}), ElementsAre("a", "b c"));
    const char* gbnf = "root ::= \"x\" root | \"y\"";
    const char* lark = "start: \"x\" start | \"y\"";
    for (const auto& form :
         {text(Kind::gbnf, gbnf), text(Kind::lark, lark), text(Kind::ebnf, gbnf), text(Kind::ebnf, lark)})
        EXPECT_THAT(admitted(form, {"xxy", "x", "y"}), ElementsAre("xxy", "y"));
}

TEST(AnswerForm, ErrorsBeginWithWhereItWasSaid) {
    AnswerForm form = schema(R"({"properties": {"a": {"type": "thing"}}})");
    form.source = "response_format.json_schema.schema";
    try {
        compile_form(form);
        ADD_FAILURE() << "it is no schema";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::StartsWith("response_format.json_schema.schema: "));
        EXPECT_THAT(e.what(), testing::HasSubstr("properties/a"));
    }
}

TEST(AnswerForms, CompileWhatSaysTheSameOnce) {
    AnswerForms forms(test::nano()->tokenizer);
    EXPECT_EQ(forms.compiled({}), nullptr);
    const auto one = forms.compiled(schema(R"({"enum": [1, 2]})"));
    auto same = schema(R"({ "enum" : [1,2] })");
    same.source = "somewhere else";
    EXPECT_EQ(forms.compiled(same), one);
    const auto other = forms.compiled(schema(R"({"enum": [2, 1]})"));
    EXPECT_NE(other, one);
    EXPECT_EQ(other->vocabulary, one->vocabulary);
    EXPECT_NE(forms.compiled(text(Kind::regex, "a")), forms.compiled(text(Kind::lark, "start: \"a\"")));
    EXPECT_NE(forms.compiled(choice({"ab", "c"})), forms.compiled(choice({"a", "bc"})));
    EXPECT_EQ(forms.kept(), 6u);
}

TEST(AnswerForms, KeepTheLastThatWereAskedFor) {
    AnswerForms forms(test::nano()->tokenizer);
    const auto number = [](std::size_t i) { return text(Kind::regex, "a{" + std::to_string(i) + "}"); };
    const auto first = forms.compiled(number(1)), second = forms.compiled(number(2));
    for (std::size_t i = 3; i <= AnswerForms::kKept; ++i) forms.compiled(number(i));
    EXPECT_EQ(forms.compiled(number(1)), first);
    forms.compiled(number(AnswerForms::kKept + 1));  // the second has to go
    EXPECT_EQ(forms.kept(), AnswerForms::kKept);
    EXPECT_EQ(forms.compiled(number(1)), first);
    EXPECT_NE(forms.compiled(number(2)), second);
}

TEST(AnswerForms, AreForSeveralThreads) {
    AnswerForms forms(test::nano()->tokenizer);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&forms, t] {
            for (int i = 0; i < 60; ++i) {
                const auto form = forms.compiled(choice({std::to_string((i * (t + 1)) % 40)}));
                EXPECT_TRUE(grammar::matches(*form->grammar, std::to_string((i * (t + 1)) % 40)));
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_LE(forms.kept(), AnswerForms::kKept);
}

}  // namespace
}  // namespace cachalot
