// Whether and how much the model thinks, in the words of every client.
#include "server/fields_test.h"

namespace cachalot::server::fields_test {
namespace {

TEST(ApiThinking, IsTurnedOffInEveryClientsWords) {
    const char* const off[] = {
        R"({"think": false})",
        R"({"think": "none"})",
        R"({"enable_thinking": false})",
        R"({"thinking": {"type": "disabled"}})",
        R"({"thinking": false})",
        R"({"reasoning": {"enabled": false}})",
        R"({"reasoning": {"effort": "none"}})",
        R"({"reasoning": {"max_tokens": 0}})",
        R"({"reasoning": false})",
        R"({"reasoning_effort": "none"})",
        R"({"disable_reasoning": true})",
        R"({"chat_template_kwargs": {"thinking": false}})",
        R"({"chat_template_kwargs": {"enable_thinking": false}})",
        R"({"chat_template_kwargs": {"thinking_mode": "chat"}})",
        R"({"thinking_budget": 0})",
        R"({"thinking_token_budget": 0})",
        R"({"reasoning_budget": 0})",
        R"({"chat_template_args": {"enable_thinking": false}})",
        R"({"chatTemplateKwargs": {"enableThinking": false}})",
        R"({"disable_thinking": true})",
        R"({"enable_reasoning": false})",
        R"({"thinking_config": {"thinking_budget": 0}})",
        R"({"thinkingConfig": {"thinkingBudget": 0}})",
        R"({"google": {"thinking_config": {"thinking_budget": 0}}})",
        R"({"google": {"thinkingConfig": {"thinkingLevel": "none"}}})",
        R"({"thinking_mode": "chat"})",
        R"({"reasoning": {"type": "disabled"}})",
        R"({"reasoning": {"budget_tokens": 0}})",
        R"({"reasoning": {"enable": false}})",
        R"({"reasoning": {"enabled": true, "max_tokens": 0}})",
        R"({"thinking": {"type": "enabled", "thinking_budget": 0}})",
        R"({"thinking": {"type": "enabled", "budget_tokens": 0}})",
        R"({"thinking": {"type": "disabled", "budget_tokens": 2000}})",
        R"({"thinking": {"type": "none"}})",
        R"({"chat_template_kwargs": {"think": false}})",
        R"({"chat_template_kwargs": {"enable_reasoning": false}})",
        R"({"chat_template_kwargs": {"disable_thinking": true}})",
        R"({"chat_template_kwargs": {"reasoning_budget": 0}})",
        R"({"chat_template_kwargs": {"thinking": {"type": "disabled"}}})",
        R"({"effort": "none"})",
        R"({"output_config": {"effort": "none"}})",
        R"({"outputConfig": {"effort": "none"}})",
        R"({"reasoningEffort": "none"})",
        R"({"enableThinking": false})",
        R"({"thinkingBudget": 0})",
        R"({"max_thinking_tokens": 0})",
        R"({"reasoning_max_tokens": 0})",
        R"({"thinking_level": "none"})",
    };
    for (const char* dialect : {"chat", "responses", "messages"})
        for (const char* members : off)
            EXPECT_FALSE(read(dialect, members).chat.thinking) << dialect << members;
    for (const char* members : off) expect_accepted("completions", members);
}

TEST(ApiThinking, IsTurnedOnAndLimited) {
    for (const char* dialect : {"chat", "responses", "messages"}) {
        for (const char* members :
             {R"({"think": true})", R"({"think": "high"})", R"({"enable_thinking": true})",
              R"({"thinking": true})", R"({"thinking": {"type": "enabled"}})",
              R"({"reasoning": {"enabled": true}})", R"({"reasoning": {"max_tokens": 2000}})",
              R"({"reasoning": {"effort": "high"}})"})
            EXPECT_TRUE(read(dialect, members).chat.thinking) << dialect << members;
        EXPECT_EQ(read(dialect, R"({"reasoning": {"effort": "high"}})").chat.effort, Effort::high);
        EXPECT_EQ(read(dialect, R"({"think": "max"})").chat.effort, Effort::max);
        for (const char* members :
             {R"({"thinking": {"type": "enabled", "budget_tokens": 2000}})",
              R"({"reasoning": {"max_tokens": 2000}})", R"({"thinking_budget": 2000.0})",
              R"({"thinking_budget_tokens": 2000})", R"({"thinking_token_budget": 2000})",
              R"({"max_reasoning_tokens": 2000})", R"({"chat_template_kwargs": {"thinking_budget": 2000}})"})
            EXPECT_EQ(read(dialect, members).generation.max_reasoning, 2000) << dialect << members;
        EXPECT_EQ(read(dialect, R"({"thinking_budget": -1})").generation.max_reasoning, -1);
        expect_refused(dialect, R"({"thinking_budget": -2})", "thinking_budget");
        expect_refused(dialect, R"({"thinking_budget": "many"})", "thinking_budget");
        expect_refused(dialect, R"({"think": "hard"})", "think");
        expect_refused(dialect, R"({"enable_thinking": "no"})", "enable_thinking");
        expect_refused(dialect, R"({"reasoning": {"enabled": 1}})", "reasoning.enabled");
    }
    EXPECT_TRUE(read("chat", "{}").chat.thinking);
    EXPECT_FALSE(read("messages", "{}").chat.thinking);
}

TEST(ApiThinking, UnknownMembersAndValuesAreRefused) {
    struct Unknown {
        const char* members;
        const char* param;
    };
    // clang-format off
    const Unknown unknown[] = {
        {R"({"chat_template_kwargs": {"thinkk": false}})", "chat_template_kwargs.thinkk"},
        {R"({"chat_template_args": {"x": 1}})", "chat_template_args.x"},
        {R"({"reasoning": {"thinks": false}})", "reasoning.thinks"},
        {R"({"reasoning": {"type": "bogus"}})", "reasoning.type"},
        {R"({"thinking": {"type": "enabled", "budget_token": 0}})", "thinking.budget_token"},
        {R"({"thinking": {"type": "bogus"}})", "thinking.type"},
        {R"({"thinking": {"type": "adaptive", "display": "bogus"}})", "thinking.display"},
        {R"({"thinking": {}})", "thinking.type"},
        {R"({"thinking": "off"})", "thinking"},
        {R"({"thinking_config": {"budgets": 0}})", "thinking_config.budgets"},
        {R"({"google": {"cached_content": "x"}})", "google.cached_content"},
        {R"({"thinking_mode": "none"})", "thinking_mode"},
        {R"({"thinking_level": "bogus"})", "thinking_level"},
        {R"({"effort": "bogus"})", "effort"},
        {R"({"output_config": {}, "effort": "bogus"})", "effort"},
        {R"({"output_config": {"effort": "bogus"}})", "output_config.effort"},
        {R"({"output_config": {"efort": "low"}})", "output_config.efort"},
        {R"({"reasoningEffort": "bogus"})", "reasoningEffort"},
        {R"({"enableThinking": "no"})", "enableThinking"},
    };
    // clang-format on
    for (const char* dialect : {"chat", "responses", "messages"})
        for (const auto& asked : unknown) expect_refused(dialect, asked.members, asked.param);
    std::string deep = R"({"type": "disabled"})";
    for (int i = 0; i < 150; ++i) deep = R"({"reasoning": )" + deep + "}";
    for (const char* dialect : {"chat", "responses", "messages"}) {
        EXPECT_FALSE(read(dialect, deep).chat.thinking);
        for (const char* members : {R"({"reasoning": {"x": null}})", R"({"chat_template_kwargs": {}})",
                                    R"({"output_config": {}})", R"({"disable_thinking": false})",
                                    R"({"reasoning": {"summary": "auto", "generate_summary": null}})"})
            EXPECT_EQ(read(dialect, members).chat.thinking, read(dialect, "{}").chat.thinking)
                << dialect << members;
    }
    // An effort does not ask Anthropic's messages for thinking; the type does.
    EXPECT_FALSE(read("messages", R"({"effort": "high"})").chat.thinking);
    const auto asked =
        read("messages", R"({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}})");
    EXPECT_TRUE(asked.chat.thinking);
    EXPECT_EQ(asked.chat.effort, Effort::max);
}

TEST(ApiThinking, CanBeHidden) {
    for (const char* dialect : {"chat", "responses", "messages"}) {
        for (const char* members : {R"({"include_reasoning": false})", R"({"reasoning": {"exclude": true}})",
                                    R"({"reasoning_format": "hidden"})"})
            EXPECT_TRUE(read(dialect, members).hide_reasoning) << dialect << members;
        for (const char* members :
             {"{}", R"({"include_reasoning": true})", R"({"reasoning": {"exclude": false}})",
              R"({"reasoning_format": "parsed"})"})
            EXPECT_FALSE(read(dialect, members).hide_reasoning) << dialect << members;
        expect_refused(dialect, R"({"reasoning_format": "raw"})", "reasoning_format");
    }
}

}  // namespace
}  // namespace cachalot::server::fields_test
