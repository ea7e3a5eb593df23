#include <rapidcheck/gtest.h>

#include "capi/library.h"

namespace cachalot::test {
namespace {

class CapiTexts : public testing::Test {
  protected:
    static void SetUpTestSuite() { shared = new EngineHandle(open_nano()); }
    static void TearDownTestSuite() {
        delete shared;
        shared = nullptr;
    }
    static cachalot_engine* engine() { return shared->get(); }

    static std::vector<std::int32_t> tokens_of(const std::string& text, int special) {
        cachalot_tokens tokens{};
        EXPECT_EQ(cachalot_tokenize(engine(), text.data(), text.size(), special, &tokens, nullptr),
                  CACHALOT_OK);
        std::vector<std::int32_t> out(tokens.data, tokens.data + tokens.size);
        cachalot_free(tokens.data);
        return out;
    }
    static std::string text_of(const std::vector<std::int32_t>& tokens) {
        cachalot_text text{};
        EXPECT_EQ(cachalot_detokenize(engine(), tokens.data(), tokens.size(), &text, nullptr), CACHALOT_OK);
        EXPECT_EQ(text.data[text.size], 0);
        std::string out(text.data, text.size);
        cachalot_free(text.data);
        return out;
    }
    // The text and the tokens of a prompt.
    static std::pair<std::string, std::vector<std::int32_t>> prompt(const std::string& messages,
                                                                    const char* tools, int thinking) {
        cachalot_text text{};
        cachalot_tokens tokens{};
        cachalot_error error{};
        EXPECT_EQ(
            cachalot_apply_template(engine(), messages.c_str(), tools, thinking, &text, &tokens, &error),
            CACHALOT_OK)
            << error.message;
        std::pair out{std::string(text.data, text.size), std::vector(tokens.data, tokens.data + tokens.size)};
        cachalot_free(text.data);
        cachalot_free(tokens.data);
        return out;
    }

    static inline EngineHandle* shared = nullptr;
};

TEST_F(CapiTexts, AnyBytesComeBackFromTheirTokens) {
    rc::check(
        [](const std::string& text, bool special) { RC_ASSERT(text_of(tokens_of(text, special)) == text); });
    EXPECT_EQ(text_of(tokens_of(std::string("a\0b", 3), 0)), std::string("a\0b", 3));
    EXPECT_THAT(tokens_of("", 0), testing::IsEmpty());
}

TEST_F(CapiTexts, SpecialTokensAreTextUnlessAskedFor) {
    cachalot_facts facts{};
    facts.size = sizeof facts;
    ASSERT_EQ(cachalot_model_facts(engine(), &facts, nullptr), CACHALOT_OK);
    EXPECT_THAT(tokens_of("<think>", 1), testing::ElementsAre(facts.think_begin));
    EXPECT_THAT(tokens_of("<think>", 0), testing::Not(testing::Contains(facts.think_begin)));
}

TEST_F(CapiTexts, FactsAreThoseOfTheModel) {
    cachalot_facts facts{};
    facts.size = sizeof facts;
    ASSERT_EQ(cachalot_model_facts(engine(), &facts, nullptr), CACHALOT_OK);
    EXPECT_EQ(facts.size, sizeof facts);
    EXPECT_STREQ(facts.name, "nano");
    EXPECT_EQ(facts.threads, 2);
    EXPECT_GT(facts.vocab_size, 256);
    EXPECT_EQ(facts.context, facts.trained_context);
    EXPECT_THAT(text_of({facts.bos}), testing::HasSubstr("begin"));
    EXPECT_THAT(text_of({facts.eos}), testing::HasSubstr("end"));
    EXPECT_STRNE(facts.kernels, "");
}

TEST_F(CapiTexts, TheTemplatesTokensAreThoseOfItsText) {
    const std::string messages =
        R"([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}])";
    for (int thinking : {CACHALOT_THINK_OFF, CACHALOT_THINK_ON, CACHALOT_THINK_HIGH, CACHALOT_THINK_MAX}) {
        const auto [text, tokens] = prompt(messages, nullptr, thinking);
        EXPECT_EQ(tokens_of(text, 1), tokens);
        EXPECT_THAT(text, testing::HasSubstr("Be short."));
        EXPECT_EQ(text.ends_with("<think>"), thinking != CACHALOT_THINK_OFF) << text;
    }
}

TEST_F(CapiTexts, WhatComesFromOutsideCannotSteer) {
    const auto [text, tokens] = prompt(one_message("<｜User｜>"), nullptr, CACHALOT_THINK_OFF);
    EXPECT_NE(tokens_of(text, 1), tokens);
    EXPECT_EQ(text_of(tokens), text);
}

TEST_F(CapiTexts, ToolsComeBesideTheMessagesOrWithThem) {
    const std::string tools = R"([{"type": "function", "function": {"name": "weather", "parameters": {}}}])";
    const std::string messages = one_message("How warm is it?");
    const auto beside = prompt(messages, tools.c_str(), CACHALOT_THINK_OFF);
    const auto with =
        prompt(R"({"messages": )" + messages + R"(, "tools": )" + tools + "}", nullptr, CACHALOT_THINK_OFF);
    EXPECT_EQ(beside, with);
    EXPECT_THAT(beside.first, testing::HasSubstr("weather"));
}

}  // namespace
}  // namespace cachalot::test
