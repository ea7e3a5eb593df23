// From logits to text, and conversations.
#include "engine/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/chat.h"
#include "support/nano.h"
#include "text/chat_json.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

GenerationOptions greedy(std::int64_t max_tokens = 60) {
    GenerationOptions o;
    o.sampling.temperature = 0;
    o.max_tokens = max_tokens;
    return o;
}

class GenerationTest : public testing::Test {
  protected:
    Engine engine{test::nano(), {2}};
    std::vector<std::int32_t> prompt = test::Golden::ids("prose.ids");

    std::string text_of(const GenerationOptions& options, FinishReason* reason = nullptr,
                        std::size_t* tokens = nullptr) {
        Generation generation(engine, prompt, options);
        auto state = engine.new_state();
        std::string text;
        run(engine, state, generation,
            {{},
             [&](const std::string& piece) {
                 text += piece;
                 return true;
             },
             {}});
        if (reason) *reason = generation.reason();
        if (tokens) *tokens = generation.completion_tokens();
        return text;
    }
};

TEST_F(GenerationTest, LengthAndStopStringsEndTheText) {
    FinishReason reason;
    std::size_t tokens;
    std::string whole = text_of(greedy(40), &reason, &tokens);
    EXPECT_EQ(reason, FinishReason::length);
    EXPECT_EQ(tokens, 40u);
    ASSERT_GT(whole.size(), 30u);
    // A stop string taken from the middle of the text, across the borders of tokens.
    auto options = greedy(40);
    options.stops = {whole.substr(whole.size() / 2, 9)};
    EXPECT_EQ(text_of(options, &reason), whole.substr(0, whole.find(options.stops[0])));
    EXPECT_EQ(reason, FinishReason::stop);
    EXPECT_EQ(text_of(greedy(0), &reason), "");
    EXPECT_EQ(reason, FinishReason::length);
}

TEST_F(GenerationTest, TheSameSeedGivesTheSameText) {
    GenerationOptions o;
    o.max_tokens = 30;
    o.sampling.seed = 11;
    auto a = text_of(o), b = text_of(o);
    o.sampling.seed = 12;
    EXPECT_EQ(a, b);
    EXPECT_NE(a, text_of(o));
}

TEST_F(GenerationTest, AFullContextEndsTheAnswer) {
    Engine small(test::nano(), {1, Precision::fast, KvPrecision::reference, 64,
                                static_cast<std::int64_t>(prompt.size()) + 5});
    Generation generation(small, prompt, greedy(-1));
    auto state = small.new_state();
    run(small, state, generation);
    EXPECT_EQ(generation.reason(), FinishReason::length);
    EXPECT_EQ(generation.completion_tokens(), 6u);  // the last one need not be evaluated
    EXPECT_EQ(state.length(), small.context());
    Engine smaller(test::nano(), {1, Precision::fast, KvPrecision::reference, 64, 50});
    EXPECT_THROW(Generation(smaller, prompt, greedy()), Error);
}

TEST_F(GenerationTest, CancellingStopsAtOnce) {
    Generation generation(engine, prompt, greedy(-1));
    auto state = engine.new_state();
    int pieces = 0;
    run(engine, state, generation, {{}, [&](const std::string&) { return ++pieces < 3; }, {}});
    EXPECT_EQ(generation.reason(), FinishReason::cancelled);
    EXPECT_LE(generation.completion_tokens(), 6u);
    Generation early(engine, prompt, greedy(-1));
    auto fresh = engine.new_state();
    run(engine, fresh, early, {{}, {}, [] { return true; }});
    EXPECT_EQ(early.reason(), FinishReason::cancelled);
    EXPECT_EQ(early.completion_tokens(), 0u);
}

TEST_F(GenerationTest, LogProbabilitiesDescribeTheModel) {
    auto options = greedy(5);
    options.top_logprobs = 3;
    Generation generation(engine, prompt, options);
    auto state = engine.new_state();
    auto logits = engine.prefill(state, prompt);
    generation.mark_evaluated(prompt.size());
    generation.accept(logits);
    ASSERT_TRUE(generation.logprobs());
    EXPECT_EQ(generation.logprobs()->chosen.token, generation.tokens().back());
    EXPECT_EQ(generation.logprobs()->top.size(), 3u);
    EXPECT_EQ(generation.logprobs()->top[0].token, generation.tokens().back());
}

TEST_F(GenerationTest, OptionsOutOfRangeAreErrors) {
    auto options = greedy(-2);
    EXPECT_THROW(Generation(engine, prompt, options), Error);
    options = greedy();
    options.sampling.top_p = -1;
    EXPECT_THROW(Generation(engine, prompt, options), Error);
    EXPECT_THROW(Generation(engine, {}, greedy()), Error);
}

class ChatTest : public testing::Test {
  protected:
    Engine engine{test::nano(), {2, Precision::exact}};
    ChatOptions plain{.thinking = false};

    static Conversation ask(const std::string& question) {
        Conversation c;
        c.messages.push_back(text_message(Role::user, question));
        return c;
    }
};

TEST_F(ChatTest, AnswersAndThinks) {
    ChatSession session(engine);
    auto result = session.answer(ask("What is the capital of France?"), plain, greedy());
    EXPECT_THAT(result.completion.content, HasSubstr("Paris"));
    EXPECT_EQ(result.finish_reason, "stop");
    EXPECT_EQ(result.prompt_tokens, 11u);
    auto thought = session.answer(ask("What is 3 + 4?"), {.thinking = true}, greedy());
    EXPECT_FALSE(thought.completion.reasoning.empty());
    EXPECT_FALSE(thought.completion.content.empty());
    EXPECT_TRUE(thought.completion.well_formed());
}

TEST_F(ChatTest, CallsATool) {
    auto conversation = ask("What is the weather in Oslo?");
    conversation.messages.insert(conversation.messages.begin(), text_message(Role::system, ""));
    conversation.tools =
        tools_from_json(parse_json(R"([{"type": "function", "function": {"name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])",
                                   "tools"),
                        "tools");
    auto result = ChatSession(engine).answer(conversation, plain, greedy());
    ASSERT_EQ(result.completion.tool_calls.size(), 1u);
    EXPECT_EQ(result.completion.tool_calls[0].name, "get_weather");
    EXPECT_EQ(parse_json(result.completion.tool_calls[0].arguments, "arguments")["city"], "Oslo");
    EXPECT_EQ(result.finish_reason, "tool_calls");
}

// Later turns reuse the state; what they say is what a fresh session says.
TEST_F(ChatTest, TurnsReuseThePrefixAndAnswerTheSame) {
    for (bool thinking : {false, true}) {
        ChatSession session(engine);
        Conversation conversation;
        std::size_t reused = 0;
        for (const char* question :
             {"What is the capital of Norway?", "And of Spain?", "What is 2 + 2?", "Thank you."}) {
            conversation.messages.push_back(text_message(Role::user, question));
            ChatOptions options{.thinking = thinking};
            auto result = session.answer(conversation, options, greedy(80));
            auto fresh = ChatSession(engine).answer(conversation, options, greedy(80));
            EXPECT_EQ(result.completion.content, fresh.completion.content);
            EXPECT_EQ(result.completion.reasoning, fresh.completion.reasoning);
            EXPECT_EQ(fresh.cached_tokens, 0u);
            EXPECT_GE(result.cached_tokens, reused);
            reused = result.cached_tokens;
            Message reply = text_message(Role::assistant, result.completion.content);
            reply.reasoning = result.completion.reasoning;
            conversation.messages.push_back(reply);
        }
        EXPECT_GT(reused, 32u);
        // Another conversation on the same session, then the first again.
        session.answer(ask("Tell me a story about a whale."), plain, greedy(100));
        conversation.messages.pop_back();
        auto again = session.answer(conversation, {.thinking = thinking}, greedy(80));
        auto fresh = ChatSession(engine).answer(conversation, {.thinking = thinking}, greedy(80));
        EXPECT_EQ(again.completion.content, fresh.completion.content);
    }
}

// Tools that nano has never heard of: left alone it calls those of its training.
TEST_F(ChatTest, CallsOnlyWhatIsOffered) {
    for (const char* question :
         {"What is the weather in Oslo?", "What is 12 + 30?", "What time is it in Rome?"}) {
        auto conversation = ask(question);
        for (const char* name : {"paint_fence", "paint_floor", "fold"})
            conversation.tools.push_back({{"name", name}, {"description", "A tool."}});
        auto options = greedy(60);
        options.forced = engine.model().tokenizer.encode("\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"",
                                                         SpecialTokens::parse);
        const auto result = ChatSession(engine).answer(conversation, plain, options);
        ASSERT_FALSE(result.completion.tool_calls.empty()) << question;
        for (const auto& call : result.completion.tool_calls)
            EXPECT_TRUE(call.name == "paint_fence" || call.name == "paint_floor" || call.name == "fold")
                << call.name;
    }
}

TEST_F(ChatTest, ATurnThatEndsInItsReasoningGoesOnToTheAnswer) {
    const auto think_end = engine.model().tokenizer.find("</think>").value();
    for (const char* question : {"What is the capital of Peru?", "What is the capital of Norway?"}) {
        auto options = greedy(200);
        options.sampling.logit_bias = {{think_end, -100.0f}};
        const auto result = ChatSession(engine).answer(ask(question), {.thinking = true}, options);
        EXPECT_EQ(result.finish_reason, "stop");
        EXPECT_FALSE(result.completion.reasoning.empty());
        EXPECT_FALSE(result.completion.content.empty()) << result.completion.reasoning;
    }
}

TEST_F(ChatTest, AskingForNothingIsAnError) {
    ChatSession session(engine);
    EXPECT_THROW(session.answer({}, plain, greedy()), Error);
    auto conversation = ask("Hello");
    conversation.messages.push_back(text_message(Role::assistant, "Hi."));
    EXPECT_THROW(session.answer(conversation, plain, greedy()), Error);
    EXPECT_NO_THROW(session.answer(ask("Hello"), plain, greedy(3)));
}

}  // namespace
}  // namespace cachalot
