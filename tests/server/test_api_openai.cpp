// OpenAI's dialect over a scripted model: the shapes that its SDKs parse.
#include "server/openai_test.h"

namespace cachalot::server::openai_test {
namespace {

TEST_F(OpenAi, AnswersChat) {
    auto answer = ask(routes, "/v1/chat/completions", chat("hi"));
    EXPECT_TRUE(answer["id"].get<std::string>().starts_with("chatcmpl-"));
    EXPECT_GT(answer["created"], 1'700'000'000);
    auto usage = answer["usage"];
    answer.erase("id");
    answer.erase("created");
    answer.erase("usage");
    EXPECT_EQ(answer, ordered_json::parse(R"({"object":"chat.completion","model":"any","choices":[
        {"index":0,"message":{"role":"assistant","content":"Hello there, friend.","refusal":null,
         "reasoning_content":"Hm."},"logprobs":null,"finish_reason":"stop"}]})"));
    EXPECT_EQ(usage["total_tokens"],
              usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>());
    EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 0);
    EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"], 1);
}

TEST_F(OpenAi, AnswersWithToolCalls) {
    auto answer = ask(routes, "/v1/chat/completions", with_tools("weather?"));
    const auto& choice = answer["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "tool_calls");
    EXPECT_EQ(choice["message"]["content"], "Let me see.");
    EXPECT_EQ(choice["message"]["reasoning_content"], "I should look.");
    const auto& calls = choice["message"]["tool_calls"];
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[0]["type"], "function");
    EXPECT_EQ(calls[0]["id"].get<std::string>().size(), 5u + 24u);
    EXPECT_EQ(calls[0]["function"]["name"], "get_weather");
    EXPECT_EQ(calls[0]["function"]["arguments"], R"({"city": "Paris", "days": 2})");
    EXPECT_EQ(calls[1]["function"]["arguments"], "{}");
    EXPECT_NE(calls[0]["id"], calls[1]["id"]);

    auto body = with_tools("weather?");
    body["messages"].push_back(choice["message"]);
    body["messages"].push_back({{"role", "tool"}, {"tool_call_id", calls[0]["id"]}, {"content", "sun"}});
    EXPECT_EQ(ask(routes, "/v1/chat/completions", body)["choices"][0]["message"]["content"], "It is sunny.");

    body = with_tools("weather?");
    body["parallel_tool_calls"] = false;
    answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(answer["choices"][0]["message"]["tool_calls"].size(), 1u);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
}

TEST_F(OpenAi, StreamsChat) {
    auto body = chat("hi");
    body["stream_options"] = {{"include_usage", true}};
    auto chunks = stream(routes, "/v1/chat/completions", body);
    ASSERT_GT(chunks.size(), 4u);
    EXPECT_EQ(chunks[0]["object"], "chat.completion.chunk");
    EXPECT_EQ(chunks[0]["choices"][0]["delta"], ordered_json::parse(R"({"role":"assistant","content":""})"));
    std::string reasoning, content;
    for (std::size_t i = 1; i + 2 < chunks.size(); ++i) {
        EXPECT_EQ(chunks[i]["id"], chunks[0]["id"]);
        EXPECT_TRUE(chunks[i]["choices"][0]["finish_reason"].is_null());
        EXPECT_TRUE(chunks[i]["usage"].is_null());
        const auto& delta = chunks[i]["choices"][0]["delta"];
        reasoning += delta.value("reasoning_content", "");
        content += delta.value("content", "");
    }
    EXPECT_EQ(reasoning, "Hm.");
    EXPECT_EQ(content, "Hello there, friend.");
    const auto& last = chunks[chunks.size() - 2];
    EXPECT_EQ(last["choices"][0]["delta"], ordered_json::object());
    EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(chunks.back()["choices"], ordered_json::array());
    EXPECT_GT(chunks.back()["usage"]["total_tokens"], 0);

    chunks = stream(routes, "/v1/chat/completions", chat("hi"));
    EXPECT_EQ(chunks.back()["choices"][0]["finish_reason"], "stop");
    EXPECT_FALSE(chunks.back().contains("usage"));
}

TEST_F(OpenAi, StreamsToolCalls) {
    auto chunks = stream(routes, "/v1/chat/completions", with_tools("weather?"));
    std::vector<std::string> arguments(2), ids(2), names(2);
    for (const auto& chunk : chunks) {
        const auto& delta = chunk["choices"][0]["delta"];
        if (!delta.contains("tool_calls")) continue;
        ASSERT_EQ(delta["tool_calls"].size(), 1u);
        const auto& call = delta["tool_calls"][0];
        auto index = call["index"].get<std::size_t>();
        if (call.contains("id")) {
            EXPECT_TRUE(arguments[index].empty());
            EXPECT_EQ(call["type"], "function");
            ids[index] = call["id"];
            names[index] = call["function"]["name"];
        }
        arguments[index] += call["function"]["arguments"].get<std::string>();
    }
    EXPECT_EQ(names, (std::vector<std::string>{"get_weather", "get_time"}));
    EXPECT_EQ(arguments, (std::vector<std::string>{R"({"city": "Paris", "days": 2})", "{}"}));
    EXPECT_TRUE(ids[0].starts_with("call_"));
    EXPECT_EQ(chunks.back()["choices"][0]["finish_reason"], "tool_calls");
}

TEST_F(OpenAi, KeepsToToolChoiceNone) {
    auto body = with_tools("weather?");
    body["tool_choice"] = "none";
    auto answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_FALSE(answer["choices"][0]["message"].contains("tool_calls"));
}

TEST_F(OpenAi, EndsAtStopStringsAndLimits) {
    auto body = chat("hi");
    body["stop"] = "Hm";  // in the reasoning it means nothing
    EXPECT_EQ(ask(routes, "/v1/chat/completions", body)["choices"][0]["message"]["content"],
              "Hello there, friend.");
    body["stop"] = {"nothing", ", fr"};
    auto answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(answer["choices"][0]["message"]["content"], "Hello there");
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");

    body = chat("hi");
    body["max_tokens"] = 1000;
    body["max_completion_tokens"] = 6;  // wins
    answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
    EXPECT_LE(answer["usage"]["completion_tokens"], 6);
    EXPECT_EQ(ask(routes, "/v1/chat/completions", chat("cut"))["choices"][0]["finish_reason"], "length");
}

TEST_F(OpenAi, TurnsThinkingOff) {
    for (const char* how : {R"({"thinking":{"type":"disabled"}})", R"({"reasoning_effort":"none"})",
                            R"({"chat_template_kwargs":{"thinking":false}})",
                            R"({"chat_template_kwargs":{"enable_thinking":false}})"}) {
        auto body = chat("hi");
        body.update(ordered_json::parse(how));
        auto answer = ask(routes, "/v1/chat/completions", body);
        EXPECT_FALSE(answer["choices"][0]["message"].contains("reasoning_content")) << how;
        EXPECT_TRUE(ask(routes, "/apply-template", body)["prompt"].get<std::string>().ends_with("</think>"))
            << how;
    }
    auto low = ask(routes, "/apply-template", chat("hi"))["prompt"].get<std::string>();
    for (const char* effort : {"minimal", "low", "medium", "high", "xhigh", "max"}) {
        auto body = chat("hi");
        body["reasoning_effort"] = effort;
        auto prompt = ask(routes, "/apply-template", body)["prompt"].get<std::string>();
        EXPECT_TRUE(prompt.ends_with("<think>"));
        bool plain = effort == std::string("minimal") || effort == std::string("low") ||
                     effort == std::string("medium");
        EXPECT_EQ(prompt == low, plain) << effort;
    }
}

TEST_F(OpenAi, AnswersSeveralChoices) {
    auto body = chat("hi");
    body["n"] = 3;
    auto answer = ask(routes, "/v1/chat/completions", body);
    ASSERT_EQ(answer["choices"].size(), 3u);
    EXPECT_EQ(answer["choices"][2]["index"], 2);
    EXPECT_EQ(answer["choices"][2]["message"]["content"], "Hello there, friend.");
}

TEST_F(OpenAi, GivesLogprobsOfTheContent) {
    auto body = chat("bytes");
    body["logprobs"] = true;
    body["top_logprobs"] = 1;
    auto content = ask(routes, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"];
    std::string bytes;
    for (const auto& token : content) {
        for (const auto& byte : token["bytes"]) bytes += static_cast<char>(byte.get<int>());
        EXPECT_EQ(token["top_logprobs"].size(), 1u);
        EXPECT_EQ(token["logprob"], 0.0);
    }
    EXPECT_EQ(bytes, "é\u4e2d😀 end");

    bytes.clear();
    for (const auto& chunk : stream(routes, "/v1/chat/completions", body))
        if (const auto& logprobs = chunk["choices"][0]["logprobs"]; !logprobs.is_null())
            for (const auto& token : logprobs["content"])
                for (const auto& byte : token["bytes"]) bytes += static_cast<char>(byte.get<int>());
    EXPECT_EQ(bytes, "é\u4e2d😀 end");
}

TEST_F(OpenAi, ReportsProgressIfAsked) {
    auto body = chat("hi");
    body["return_progress"] = true;
    bool found = false;
    for (const auto& chunk : stream(routes, "/v1/chat/completions", body)) {
        if (!chunk.contains("prompt_progress")) continue;
        found = true;
        EXPECT_EQ(chunk["choices"][0]["delta"], ordered_json::object());
        EXPECT_GT(chunk["prompt_progress"]["total"], 0);
        EXPECT_EQ(chunk["prompt_progress"]["processed"], chunk["prompt_progress"]["total"]);
    }
    EXPECT_TRUE(found);
}

TEST_F(OpenAi, ReportsFailures) {
    auto error = ask(routes, "/v1/chat/completions", chat("broken"), 500)["error"];
    EXPECT_EQ(error["type"], "server_error");
    EXPECT_EQ(error["message"], "the weights have gone");
    auto body = chat("broken");
    body["stream"] = true;
    auto writer = test::call(routes, "POST", "/v1/chat/completions", body.dump());
    ASSERT_TRUE(writer->wait());
    EXPECT_NE(writer->body.find("data: {\"error\":{\"message\":\"the weights have gone\""),
              std::string::npos);
    EXPECT_EQ(writer->body.find("[DONE]"), std::string::npos);
}

TEST_F(OpenAi, RefusesPromptsBeyondTheContext) {
    auto error = ask(routes, "/v1/chat/completions", chat(std::string(100'000, 'x')), 400)["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], "messages");
    EXPECT_TRUE(error["message"].get<std::string>().starts_with(
        "This model's maximum context length is 20000 tokens."));
    // An answer that does not fit is no reason to refuse.
    auto body = chat("hi");
    body["max_tokens"] = 1'000'000;
    ask(routes, "/v1/chat/completions", body);
}

TEST_F(OpenAi, NoticesThatTheClientHasGone) {
    auto body = chat("slow");
    body["stream"] = true;
    auto writer = test::call(routes, "POST", "/v1/chat/completions", body.dump());
    ASSERT_TRUE(writer->wait_for_text(" two"));
    writer->gone = true;
    ask(routes, "/v1/chat/completions", chat("hi"));
    EXPECT_FALSE(writer->finished());
    EXPECT_EQ(writer->body.find("eight"), std::string::npos);
}

TEST_F(OpenAi, CompletesPrompts) {
    auto answer = ask(routes, "/v1/completions", {{"prompt", "Once"}, {"max_tokens", 100}});
    EXPECT_TRUE(answer["id"].get<std::string>().starts_with("cmpl-"));
    EXPECT_EQ(answer["object"], "text_completion");
    EXPECT_EQ(answer["choices"],
              ordered_json::parse(R"([{"text":"Hello there, friend.","index":0,"logprobs":null,
        "finish_reason":"stop"}])"));
    EXPECT_EQ(
        ask(routes, "/v1/completions", {{"prompt", "Once"}})["usage"]["completion_tokens"].get<int>() <= 16,
        true);

    answer = ask(routes, "/v1/completions",
                 {{"prompt", {"a", "b"}}, {"n", 2}, {"echo", true}, {"max_tokens", 100}});
    ASSERT_EQ(answer["choices"].size(), 4u);
    EXPECT_EQ(answer["choices"][0]["text"], "aHello there, friend.");
    EXPECT_EQ(answer["choices"][3]["text"], "bHello there, friend.");
    EXPECT_EQ(answer["choices"][3]["index"], 3);

    for (auto prompt : {"[97, 98]", "[[97, 98]]"}) {
        answer = ask(
            routes, "/v1/completions",
            {{"prompt", ordered_json::parse(prompt)}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 0}});
        EXPECT_EQ(answer["choices"][0]["text"], "ab");
        EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
        const auto& logprobs = answer["choices"][0]["logprobs"];
        EXPECT_EQ(logprobs["tokens"].size(), 1u);
        EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
        EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    }

    answer = ask(routes, "/v1/completions",
                 {{"prompt", "éa"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 100}});
    const auto& logprobs = answer["choices"][0]["logprobs"];
    std::string text;
    for (std::size_t i = 0; i < logprobs["tokens"].size(); ++i) text += logprobs["tokens"][i];
    EXPECT_EQ(text, "éaHello there, friend.");
    EXPECT_EQ(logprobs["text_offset"][1], 2);
}

TEST_F(OpenAi, StreamsCompletions) {
    auto chunks =
        stream(routes, "/v1/completions",
               {{"prompt", {"a", "b"}}, {"max_tokens", 100}, {"stream_options", {{"include_usage", true}}}});
    std::vector<std::string> texts(2), reasons(2);
    for (const auto& chunk : chunks)
        for (const auto& choice : chunk["choices"]) {
            texts[choice["index"].get<std::size_t>()] += choice["text"].get<std::string>();
            if (!choice["finish_reason"].is_null())
                reasons[choice["index"].get<std::size_t>()] = choice["finish_reason"];
        }
    EXPECT_EQ(texts, std::vector<std::string>(2, "Hello there, friend."));
    EXPECT_EQ(reasons, std::vector<std::string>(2, "stop"));
    EXPECT_GT(chunks.back()["usage"]["prompt_tokens"], 0);
}

TEST_F(OpenAi, ListsModels) {
    auto writer = test::call(routes, "GET", "/v1/models", "");
    auto list = ordered_json::parse(writer->body);
    EXPECT_EQ(list["object"], "list");
    EXPECT_EQ(list["models"], ordered_json::array());
    EXPECT_EQ(list["data"][0]["id"], "scripted-v4");
    EXPECT_EQ(list["data"][0]["context_length"], 20000);
    EXPECT_EQ(list["data"][0]["max_model_len"], 20000);
    writer = test::call(routes, "GET", "/v1/models/scripted-v4", "");
    EXPECT_EQ(ordered_json::parse(writer->body), list["data"][0]);
    writer = test::call(routes, "GET", "/v1/models/gpt-4o", "");
    EXPECT_EQ(writer->status, 404);
    EXPECT_EQ(ordered_json::parse(writer->body)["error"]["code"], "model_not_found");
}

TEST_F(OpenAi, Tokenizes) {
    auto answer = ask(routes, "/tokenize", {{"content", "hello"}, {"return_token_strs", true}});
    EXPECT_EQ(answer["count"], 2);
    EXPECT_EQ(answer["token_strs"], ordered_json::parse(R"(["hel","lo"])"));
    EXPECT_EQ(ask(routes, "/detokenize", {{"tokens", answer["tokens"]}})["content"], "hello");
    EXPECT_EQ(ask(routes, "/tokenize", {{"prompt", ""}})["count"], 0);
}

// What odd clients send and must not be refused for.

}  // namespace
}  // namespace cachalot::server::openai_test
