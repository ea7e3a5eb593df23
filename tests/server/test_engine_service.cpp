// The real model behind the Service interface, with the small model that the project ships.
#include "service/engine_service.h"

#include <set>
#include <thread>

#include "engine/chat.h"
#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/support.h"
#include "support/nano.h"

namespace cachalot::server {
namespace {

using test::ask;
using test::stream;

class EngineService : public testing::Test {
  protected:
    Engine engine{cachalot::test::nano(), {2}};
    std::unique_ptr<Service> service = make_engine_service(engine, options());
    std::vector<Route> routes = openai_routes(*service);

    static EngineServiceOptions options() {
        EngineServiceOptions o;
        o.sampling.temperature = 0;
        o.chat.thinking = false;
        o.queue.limit = 3;
        o.scheduler.parallel = 2;
        return o;
    }
    static ordered_json chat(const std::string& text, int max_tokens = 24) {
        return {{"messages", {{{"role", "user"}, {"content", text}}}}, {"max_tokens", max_tokens}};
    }
    static ordered_json weather() {
        auto body = chat("What is the weather in Paris?", 120);
        body["tools"] = ordered_json::parse(R"([{"type": "function", "function": {"name": "get_weather",
            "description": "Get the weather of a city.", "parameters": {"type": "object",
            "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])");
        return body;
    }
    static const ordered_json& message(const ordered_json& answer) { return answer["choices"][0]["message"]; }
};

TEST_F(EngineService, AnswersAsAChatSessionDoes) {
    Engine other(cachalot::test::nano(), {2});
    for (bool thinking : {false, true}) {
        ChatSession session(other);
        Conversation conversation;
        conversation.messages.push_back(text_message(Role::user, "What is the capital of France?"));
        GenerationOptions generation;
        generation.sampling.temperature = 0;
        generation.max_tokens = 40;
        ChatOptions options;
        options.thinking = thinking;
        auto expected = session.answer(conversation, options, generation);

        auto body = chat("What is the capital of France?", 40);
        body["thinking"]["type"] = thinking ? "enabled" : "disabled";
        std::string reasoning, content;
        for (const auto& chunk : stream(routes, "/v1/chat/completions", body)) {
            reasoning += chunk["choices"][0]["delta"].value("reasoning_content", "");
            content += chunk["choices"][0]["delta"].value("content", "");
        }
        EXPECT_EQ(content, expected.completion.content);
        EXPECT_EQ(reasoning, expected.completion.reasoning);
        auto usage = ask(routes, "/v1/chat/completions", body)["usage"];
        EXPECT_EQ(usage["prompt_tokens"], expected.prompt_tokens);
        EXPECT_EQ(usage["completion_tokens"], expected.completion_tokens);
        EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"] > 0, thinking);
    }
}

TEST_F(EngineService, HoldsReasoningToItsBudget) {
    auto body = chat("What is the capital of France?", 60);
    body["thinking"]["type"] = "enabled";
    const auto thought = [](const ordered_json& answer) {
        return answer["usage"]["completion_tokens_details"]["reasoning_tokens"].get<int>();
    };
    const auto free = ask(routes, "/v1/chat/completions", body);
    ASSERT_GT(thought(free), 3);
    for (const int budget : {1, 2, 3, 1000}) {
        body["thinking_budget"] = budget;
        const auto answer = ask(routes, "/v1/chat/completions", body);
        EXPECT_EQ(thought(answer), std::min(budget, thought(free)));
        EXPECT_FALSE(message(answer)["content"].get<std::string>().empty()) << answer;
        EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    }
    body["thinking_budget"] = 0;
    EXPECT_FALSE(message(ask(routes, "/v1/chat/completions", body)).contains("reasoning_content"));
}

// Where clients of llama.cpp's server look for it: in whole answers and in the last chunk of a stream.
TEST_F(EngineService, TellsWhatAnAnswerTook) {
    auto check = [](const ordered_json& answer, int prompt, int predicted) {
        ASSERT_TRUE(answer.contains("timings")) << answer.dump();
        const auto& timings = answer["timings"];
        EXPECT_EQ(timings["cache_n"].get<int>() + timings["prompt_n"].get<int>(), prompt);
        EXPECT_EQ(timings["predicted_n"], predicted);
        for (const char* name : {"prompt", "predicted"}) {
            const auto n = timings[std::string(name) + "_n"].get<double>();
            const auto ms = timings[std::string(name) + "_ms"].get<double>();
            EXPECT_GT(ms, 0) << name;
            EXPECT_NEAR(timings[std::string(name) + "_per_token_ms"].get<double>(), ms / n, 0.01);
            EXPECT_NEAR(timings[std::string(name) + "_per_second"].get<double>() * ms / 1000 / n, 1, 0.01);
        }
        for (const char* fewer : {"drafts", "draft_n_accepted"}) EXPECT_LE(timings[fewer], timings["draft_n"]);
    };
    auto body = chat("What is the capital of France?", 5);
    body["ignore_eos"] = true;
    const auto whole = ask(routes, "/v1/chat/completions", body);
    const auto prompt = whole["usage"]["prompt_tokens"].get<int>();
    check(whole, prompt, 5);
    const ordered_json raw = {{"prompt", "Once upon a time"}, {"max_tokens", 5}, {"ignore_eos", true}};
    const auto continued = ask(routes, "/v1/completions", raw);
    const auto raw_prompt = continued["usage"]["prompt_tokens"].get<int>();
    check(continued, raw_prompt, 5);
    for (const bool chats : {true, false})
        for (const bool usage : {false, true}) {
            auto streamed = chats ? body : raw;
            streamed["stream"] = true;
            streamed["stream_options"] = {{"include_usage", usage}};
            const auto chunks = stream(routes, chats ? "/v1/chat/completions" : "/v1/completions", streamed);
            ASSERT_GT(chunks.size(), 1u);
            for (std::size_t i = 0; i + 1 < chunks.size(); ++i) EXPECT_FALSE(chunks[i].contains("timings"));
            check(chunks.back(), chats ? prompt : raw_prompt, 5);
            EXPECT_EQ(chunks.back()["choices"].empty(), usage);
        }
}

TEST_F(EngineService, ContinuesFromWhatItHasRead) {
    auto body = chat("What is the capital of France?");
    auto first = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    body["messages"].push_back(message(first));
    body["messages"].push_back({{"role", "user"}, {"content", "And of Italy?"}});
    // A side request in between does not cost the conversation its state.
    ask(routes, "/v1/chat/completions", chat("Write a title of three words for this talk: capitals."));
    auto second = ask(routes, "/v1/chat/completions", body);
    EXPECT_GE(second["usage"]["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"]);

    // The same text as a server that starts afresh.
    Engine other(cachalot::test::nano(), {2});
    auto fresh = make_engine_service(other, options());
    EXPECT_EQ(message(ask(openai_routes(*fresh), "/v1/chat/completions", body)), message(second));

    // Another tenant's conversations are none of ours.
    body["cache_salt"] = "x";
    EXPECT_EQ(ask(routes, "/v1/chat/completions", body)["usage"]["prompt_tokens_details"]["cached_tokens"],
              0);
}

// As Claude Code does after an answer that had no text.
TEST_F(EngineService, WhatIsAddedToTheLastMessageIsAllThatIsRead) {
    std::string words = "Remember:";
    for (int i = 0; i < 200; ++i) words += " word";
    const auto body = chat(words + ".", 8);
    const auto first = ask(routes, "/v1/chat/completions", body)["usage"]["prompt_tokens"].get<int>();
    auto longer = chat(words + ".\n\nWhat is the capital of France?", 8), joined = body;
    joined["messages"].push_back({{"role", "user"}, {"content", "What is the capital of Italy?"}});
    for (const auto& next : {longer, joined}) {
        const auto usage = ask(routes, "/v1/chat/completions", next)["usage"];
        EXPECT_GE(usage["prompt_tokens_details"]["cached_tokens"].get<int>(), first - 12) << usage;
    }
}

TEST_F(EngineService, CallsTools) {
    auto body = weather();
    for (const char* choice : {R"("required")", R"({"type":"function","function":{"name":"get_weather"}})"}) {
        body["tool_choice"] = ordered_json::parse(choice);
        for (bool thinking : {false, true}) {
            body["thinking"]["type"] = thinking ? "enabled" : "disabled";
            auto answer = ask(routes, "/v1/chat/completions", body);
            ASSERT_TRUE(message(answer).contains("tool_calls")) << choice << thinking << answer;
            if (choice[0] == '{') {
                EXPECT_EQ(message(answer)["tool_calls"][0]["function"]["name"], "get_weather");
            }
        }
    }
    body["tool_choice"] = "none";
    EXPECT_FALSE(message(ask(routes, "/v1/chat/completions", body)).contains("tool_calls"));
}

TEST_F(EngineService, WritesNothingOfACallIfThereMayBeNone) {
    auto body = weather();
    body["tool_choice"] = "none";
    for (const char* question : {"What is the weather in Oslo?", "What is 12 + 30?", "Who are you?"})
        for (bool thinking : {false, true}) {
            body["messages"][0]["content"] = question;
            body["thinking"]["type"] = thinking ? "enabled" : "disabled";
            const auto answer = ask(routes, "/v1/chat/completions", body);
            EXPECT_FALSE(message(answer).contains("tool_calls"));
            const auto text = message(answer)["content"].get<std::string>();
            for (const char* syntax : {"DSML", "<tool_", "invoke", "<parameter name"})
                EXPECT_EQ(text.find(syntax), std::string::npos) << question << text;
        }
}

TEST_F(EngineService, CallsOnlyToolsThatAreOffered) {
    auto body = chat("What is the weather in Paris?", 120);
    for (const char* name : {"paint_fence", "fold_paper"})
        body["tools"].push_back(
            {{"type", "function"}, {"function", {{"name", name}, {"description", "A tool."}}}});
    for (const char* choice : {"required", "auto"})
        for (const char* question : {"What is the weather in Oslo?", "What is 12 + 30?", "Who are you?"})
            for (const double temperature : {0.0, 1.5}) {
                body["tool_choice"] = choice;
                body["messages"][0]["content"] = question;
                body["temperature"] = temperature;
                body["seed"] = 3;
                const auto answer = ask(routes, "/v1/chat/completions", body);
                const auto calls = message(answer).value("tool_calls", ordered_json::array());
                EXPECT_TRUE(!calls.empty() || std::string(choice) == "auto") << question << answer;
                for (const auto& call : calls) {
                    const std::string name = call["function"]["name"];
                    EXPECT_TRUE(name == "paint_fence" || name == "fold_paper") << question << name;
                }
            }
}

// The client drops the reasoning and writes the arguments in its own way; the model still finds its own
// tokens.
TEST_F(EngineService, RemembersWhatItWroteWhenItCalledATool) {
    for (bool thinking : {false, true}) {
        auto body = weather();
        body["thinking"]["type"] = thinking ? "enabled" : "disabled";
        body["max_tokens"] = 400;
        body["tool_choice"] = "required";
        auto first = ask(routes, "/v1/chat/completions", body);
        ASSERT_EQ(first["choices"][0]["finish_reason"], "tool_calls") << first;
        auto back = message(first);
        back.erase("reasoning_content");
        for (auto& call : back["tool_calls"]) {
            auto& arguments = call["function"]["arguments"];
            arguments = ordered_json::parse(arguments.get<std::string>()).dump(4);
        }
        body["tool_choice"] = "auto";
        body["messages"].push_back(back);
        for (const auto& call : back["tool_calls"])
            body["messages"].push_back(
                {{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "sunny, 21 degrees"}});
        auto second = ask(routes, "/v1/chat/completions", body);
        // Everything but the EOS, which was chosen but never evaluated; the last token written had been.
        auto known =
            first["usage"]["prompt_tokens"].get<int>() + first["usage"]["completion_tokens"].get<int>() - 1;
        EXPECT_GE(second["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>(), known - 1)
            << thinking;
    }
}

TEST_F(EngineService, StopsAfterOneCallIfToldTo) {
    auto body = weather();
    body["tool_choice"] = "required";
    body["parallel_tool_calls"] = false;
    body["max_tokens"] = 400;
    auto answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
    EXPECT_EQ(message(answer)["tool_calls"].size(), 1u);
}

TEST_F(EngineService, StopsWhenTheClientHasGone) {
    auto body = chat("Tell me a long story.", 100'000);
    body["ignore_eos"] = true;
    body["stream"] = true;
    auto running = test::call(routes, "POST", "/v1/chat/completions", body.dump());
    ASSERT_TRUE(running->wait_for_text("\"content\":\" "));
    auto beside = test::call(routes, "POST", "/v1/chat/completions", body.dump());
    ASSERT_TRUE(beside->wait_for_text("\"content\":\" "));
    // The queue is bounded.
    std::vector<std::shared_ptr<test::FakeWriter>> waiting;
    for (int i = 0; i < 3; ++i)
        waiting.push_back(test::call(routes, "POST", "/v1/chat/completions", body.dump()));
    auto refused = test::call(routes, "POST", "/v1/chat/completions", body.dump());
    EXPECT_EQ(refused->status, 429);
    ASSERT_FALSE(refused->headers.empty());
    EXPECT_EQ(refused->headers[0].first, "retry-after");
    for (auto& writer : waiting) writer->gone = true;
    running->gone = beside->gone = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ask(routes, "/v1/chat/completions", chat("Hello"));
    EXPECT_FALSE(running->finished());
}

// Answers that are written at the same time are what each would be alone.
TEST_F(EngineService, AnswersSeveralAtOnce) {
    Engine one(cachalot::test::nano(), {2, Precision::exact}),
        many(cachalot::test::nano(), {2, Precision::exact});
    auto settings = options();
    settings.scheduler.parallel = 4;
    settings.queue.limit = 100;
    std::vector<PassReport> passes;
    auto alone = make_engine_service(one, settings);
    settings.on_pass = [&](const PassReport& report) { passes.push_back(report); };
    auto together = make_engine_service(many, settings);
    auto routes_alone = openai_routes(*alone), routes_many = openai_routes(*together);
    std::vector<ordered_json> bodies;
    for (const char* question :
         {"What is the capital of France?", "What is 3 + 4?", "Tell me a story about a whale.",
          "What is the capital of Italy?", "Hello", "Tell me a story about a dog."})
        bodies.push_back(chat(question, 40));
    std::vector<std::shared_ptr<test::FakeWriter>> answers;
    for (const auto& body : bodies)
        answers.push_back(test::call(routes_many, "POST", "/v1/chat/completions", body.dump()));
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        ASSERT_TRUE(answers[i]->wait());
        EXPECT_EQ(message(ordered_json::parse(answers[i]->body)),
                  message(ask(routes_alone, "/v1/chat/completions", bodies[i])));
    }
    together->drain(std::chrono::steady_clock::now() + std::chrono::seconds(60));
    together.reset();
    std::int64_t most = 0;
    for (const auto& pass : passes) most = std::max(most, pass.rows);
    EXPECT_GT(most, 3);
    EXPECT_EQ(passes.back().running_bytes, 0);
    EXPECT_GT(passes.back().held_bytes, 0);
    EXPECT_GT(passes.back().memory, passes.back().held_bytes);
}

// The choices of a request read their prompt once.
TEST_F(EngineService, ChoicesShareThePrompt) {
    std::int64_t rows = 0, passes = 0;
    auto settings = options();
    settings.scheduler.parallel = 4;
    settings.on_pass = [&](const PassReport& report) {
        rows += report.rows;
        ++passes;
    };
    service = make_engine_service(engine, settings);
    std::string words;
    for (int i = 0; i < 200; ++i) words += " word";
    auto body = chat(words, 5);
    body["n"] = 4;
    body["ignore_eos"] = true;
    auto usage = ask(openai_routes(*service), "/v1/chat/completions", body)["usage"];
    service->drain(std::chrono::steady_clock::now() + std::chrono::seconds(60));
    service.reset();
    EXPECT_EQ(usage["completion_tokens"], 20);
    // The others read the header of the answer again, which may differ from turn to turn.
    EXPECT_LE(rows, usage["prompt_tokens"].get<int>() + 4 * 4 + 3 * 4);
    EXPECT_LE(passes, 9);
}

TEST_F(EngineService, GivesEachChoiceItsOwnSeed) {
    auto body = chat("Tell me a story.");
    body["n"] = 4;
    body["temperature"] = 1.5;
    body["seed"] = 7;
    auto first = ask(routes, "/v1/chat/completions", body),
         second = ask(routes, "/v1/chat/completions", body);
    std::set<std::string> texts;
    for (const auto& choice : first["choices"]) texts.insert(choice["message"]["content"].get<std::string>());
    EXPECT_GT(texts.size(), 1u);
    EXPECT_EQ(first["choices"], second["choices"]);
}

TEST_F(EngineService, MinusOneIsANewSeedInEveryDialect) {
    for (auto& more : {anthropic_routes(*service, 0), responses_routes(*service)})
        routes.insert(routes.end(), more.begin(), more.end());
    const std::string story = "Write a story about the sea.";
    const ordered_json turns = {{{"role", "user"}, {"content", story}}};
    const std::vector<std::pair<std::string, ordered_json>> dialects = {
        {"/v1/chat/completions", {{"messages", turns}, {"max_tokens", 16}}},
        {"/v1/completions", {{"prompt", "It was a dark night"}, {"max_tokens", 16}}},
        {"/v1/messages", {{"messages", turns}, {"max_tokens", 16}}},
        {"/v1/responses", {{"input", story}, {"max_output_tokens", 16}}}};
    for (const auto& dialect : dialects) {
        const auto& path = dialect.first;
        auto body = dialect.second;
        body["temperature"] = 1.5;
        auto texts = [&](const ordered_json& seed) {
            body["seed"] = seed;
            std::set<std::string> all;
            for (int i = 0; i < 4; ++i) {
                auto answer = ask(routes, path, body);
                for (const char* name : {"choices", "content", "output"})
                    if (answer.contains(name)) {
                        auto part = answer[name][0];
                        part.erase("id");
                        all.insert(part.dump());
                    }
            }
            return all.size();
        };
        EXPECT_GT(texts(-1), 1u) << path;
        EXPECT_GT(texts(nullptr), 1u) << path;
        for (std::int64_t seed : {std::int64_t{0}, std::int64_t{-2}, INT64_MIN, INT64_MAX})
            EXPECT_EQ(texts(seed), 1u) << path << " " << seed;
    }
}

TEST_F(EngineService, RefusesWhatDoesNotFit) {
    std::string words;
    for (int i = 0; i < engine.context() + 10; ++i) words += " word";
    auto error = ask(routes, "/v1/chat/completions", chat(words), 400)["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(
        error["message"],
        fmt::format("This model's maximum context length is {0} tokens. However, your messages resulted in "
                    "more than {0} tokens. Please reduce the length of the messages.",
                    engine.context()));
    auto body = chat("hi");
    body["logit_bias"] = {{"0", 100}, {std::to_string(service->info().vocab_size), 1}};
    EXPECT_EQ(ask(routes, "/v1/chat/completions", body, 400)["error"]["param"], "logit_bias");
}

TEST_F(EngineService, GivesLogprobsOfItsTokens) {
    auto body = chat("What is the capital of France?");
    body["logprobs"] = true;
    body["top_logprobs"] = 3;
    auto answer = ask(routes, "/v1/chat/completions", body);
    std::string text;
    for (const auto& token : answer["choices"][0]["logprobs"]["content"]) {
        text += token["token"];
        EXPECT_EQ(token["top_logprobs"].size(), 3u);
        EXPECT_EQ(token["top_logprobs"][0]["token"], token["token"]);  // greedy
        EXPECT_LE(token["logprob"], 0.0);
    }
    EXPECT_EQ(text, message(answer)["content"]);
}

TEST_F(EngineService, ScoresPrompts) {
    ordered_json body = {
        {"prompt", "The capital of France is Paris."}, {"max_tokens", 3}, {"echo", true}, {"logprobs", 2}};
    auto answer = ask(routes, "/v1/completions", body);
    const auto& choice = answer["choices"][0];
    const auto& lists = choice["logprobs"];
    std::string text;
    for (const auto& token : lists["tokens"]) text += token;
    EXPECT_EQ(text, choice["text"]);
    EXPECT_TRUE(choice["text"].get<std::string>().starts_with("The capital of France is Paris."));
    for (const auto& logprob : lists["token_logprobs"])
        EXPECT_LE(logprob.get<double>(), 0.0);  // BOS comes before

    // As token ids: the first has none, the others the same.
    auto tokens = service->tokenize("The capital of France is Paris.", false);
    tokens.insert(tokens.begin(), engine.model().tokenizer.bos());
    body["prompt"] = tokens;
    body["max_tokens"] = 0;
    auto scored = ask(routes, "/v1/completions", body)["choices"][0]["logprobs"];
    ASSERT_EQ(scored["tokens"].size(), tokens.size());
    EXPECT_TRUE(scored["token_logprobs"][0].is_null());
    for (std::size_t i = 1; i < tokens.size(); ++i)
        EXPECT_NEAR(scored["token_logprobs"][i].get<double>(), lists["token_logprobs"][i - 1].get<double>(),
                    1e-3);
}

}  // namespace
}  // namespace cachalot::server
