// Requests of OpenAI's dialect: what is accepted, and what is refused by name.
#include "server/api/openai_parse.h"
#include "server/openai_test.h"

namespace cachalot::server::openai_test {
namespace {

TEST_F(OpenAi, AcceptsWhatClientsSend) {
    for (
        const char* more : {
            R"({"user":"u","metadata":{"a":1},"store":true,"service_tier":"auto","unknown":[1,2]})",
            R"({"temperature":null,"max_tokens":null,"stop":null,"tools":null,"seed":null,"stream":null})",
            R"({"tools":[{"type":"web_search"},{"type":"namespace","name":"x"}],"tool_choice":"auto"})",
            R"({"seed":-1,"top_k":-1,"top_p":1,"temperature":0,"min_p":0.1,"logit_bias":{"5":-100}})",
            R"({"response_format":{"type":"json_object"}})",
            R"({"response_format":{"type":"text"}})",
            R"({"thinking":{"type":"adaptive","budget_tokens":5}})",
            R"({"stop":[]})",
            R"({"messages":[{"role":"system","content":"s"},{"role":"developer","content":"d"},{"role":"user","content":"u"}]})",
            R"({"messages":[{"role":"user","content":"u"},{"role":"system","content":"late"}]})",
            R"({"messages":[{"role":"system","content":"only"}]})",
            R"({"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"begin"}]})",
            R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}]})",
            R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"user","content":"b"}]})",
        }) {
        auto body = chat("hi");
        body.update(ordered_json::parse(more));
        auto answer = ask(routes, "/v1/chat/completions", body);
        EXPECT_EQ(answer["choices"].size(), 1u) << more;
    }
}

TEST_F(OpenAi, RequestsMayBeUrgentOrNotAndLoseTheNoiseOfTheirClients) {
    auto body = chat("hi");
    auto parsed = [&](const char* more) {
        HttpRequest http;
        auto changed = body;
        changed.update(ordered_json::parse(more));
        http.body = changed.dump();
        return openai::parse_chat(http, service->info()).request;
    };
    auto priority = [&](const char* more) { return parsed(more).priority; };
    EXPECT_EQ(priority("{}"), Priority::normal);
    EXPECT_EQ(priority(R"({"service_tier": "priority"})"), Priority::interactive);
    EXPECT_EQ(priority(R"({"service_tier": "flex"})"), Priority::background);
    EXPECT_EQ(priority(R"({"service_tier": "flex", "priority": -5})"), Priority::interactive);

    body["messages"] = ordered_json::parse(R"([
        {"role": "system", "content": "x-anthropic-billing-header: cch=1;\nRules"}, {"role": "user", "content": "hi"}])");
    EXPECT_EQ(content_text(parsed("{}").conversation.messages.at(0).content), "Rules");
}

struct BadValue {
    const char* param;
    const char* value;
};

constexpr BadValue kBadOfChats[] = {
    {"temperature", "-0.1"},
    {"temperature", "2.5"},
    {"temperature", "1e308"},
    {"temperature", "\"hot\""},
    {"temperature", "true"},
    {"temperature", "[]"},
    {"top_p", "-1"},
    {"top_p", "1.01"},
    {"top_p", "\"NaN\""},
    {"top_k", "-2"},
    {"top_k", "0.5"},
    {"top_k", "9223372036854775808"},
    {"min_p", "2"},
    {"min_p", "{}"},
    {"presence_penalty", "3"},
    {"frequency_penalty", "-2.5"},
    {"repetition_penalty", "0"},
    {"repetition_penalty", "1e308"},
    {"seed", "1.5"},
    {"seed", "9223372036854775808"},
    {"seed", "1e308"},
    {"seed", "\"1\""},
    {"max_tokens", "0"},
    {"max_tokens", "-2"},
    {"max_tokens", "1.5"},
    {"max_tokens", "9223372036854775808"},
    {"max_tokens", "18446744073709551616"},
    {"max_tokens", "1e308"},
    {"max_tokens", "\"many\""},
    {"max_completion_tokens", "-5"},
    {"max_completion_tokens", "[1]"},
    {"n", "0"},
    {"n", "9"},
    {"n", "-1"},
    {"n", "1.5"},
    {"n", "2147483648"},
    {"stop", "5"},
    {"stop", "\"\""},
    {"stop[1]", "[\"a\", 5]"},
    {"stop", R"(["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"])"},
    {"logprobs", "1"},
    {"top_logprobs", "5"},
    {"top_logprobs", "21"},
    {"top_logprobs", "-1"},
    {"logit_bias", "[1]"},
    {"logit_bias", R"({"x":1})"},
    {"logit_bias", R"({"-1":1})"},
    {"logit_bias", R"({"999999999999":1})"},
    {"logit_bias.5", R"({"5":101})"},
    {"logit_bias.5", R"({"5":"a"})"},
    {"stream", "\"yes\""},
    {"stream_options", "true"},
    {"stream_options.include_usage", R"({"include_usage":1})"},
    {"response_format", "\"json\""},
    {"response_format.json_schema.schema", R"({"type":"json_schema","json_schema":{}})"},
    {"response_format.type", R"({"type":"xml"})"},
    {"response_format.type", "{}"},
    {"tools", "{}"},
    {"tools[0]", "[5]"},
    {"tools[0].function", R"([{"type":"function"}])"},
    {"tools[0].function.name", R"([{"type":"function","function":{"name":5}}])"},
    {"tool_choice", "\"any\""},
    {"tool_choice", "5"},
    {"tool_choice", "\"required\""},
    {"tool_choice.function", R"({"type":"function"})"},
    {"tool_choice", R"({"type":"function","function":{"name":"nope"}})"},
    {"parallel_tool_calls", "\"no\""},
    {"reasoning_effort", "\"extreme\""},
    {"reasoning_effort", "101"},
    {"thinking", "5"},
    {"thinking.type", "{}"},
    {"thinking.type", R"({"type":"maybe"})"},
    {"chat_template_kwargs", "[]"},
    {"chat_template_kwargs.thinking", R"({"thinking":"yes"})"},
    {"ignore_eos", "1"},
    {"cache_salt", "5"},
    {"priority", "\"high\""},
    {"priority", "0.5"},
    {"service_tier", "1"},
    {"model", "5"},
    {"return_progress", "\"x\""},
    {"messages", "[]"},
    {"messages", "\"hi\""},
    {"messages[0]", "[5]"},
    {"messages[0].role", "[{}]"},
    {"messages[0].role", R"([{"role":"robot","content":"x"}])"},
    {"messages[0].content", R"([{"role":"user","content":5}])"},
    {"messages[0].content[0].type", R"([{"role":"user","content":[{}]}])"},
    {"messages[0].tool_calls", R"([{"role":"assistant","tool_calls":5}])"},
    {"messages[0].tool_calls[0].function", R"([{"role":"assistant","tool_calls":[{"id":"x"}]}])"},
    {"messages",
     R"([{"role":"assistant","tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]}])"},
};

constexpr BadValue kBadOfCompletions[] = {
    {"prompt", "null"},
    {"prompt", "5"},
    {"prompt", "{}"},
    {"prompt", "[]"},
    {"prompt[1]", "[1,-1]"},
    {"prompt[0]", "[99999999999]"},
    {"prompt[1]", "[1,1.5]"},
    {"prompt[0]", "[[]]"},
    {"prompt[1]", "[\"a\",5]"},
    {"prompt[0]", "[true]"},
    {"suffix", "\"end\""},
    {"suffix", "5"},
    {"echo", "1"},
    {"logprobs", "true"},
    {"logprobs", "-1"},
    {"logprobs", "21"},
    {"best_of", "3"},
    {"max_tokens", "-2"},
    {"stream", "0"},
};

// Every kind of wrong value is a 400 that names the field.
TEST_F(OpenAi, RefusesBadFieldsByName) {
    for (const auto& bad : kBadOfChats) {
        auto body = chat("hi");
        std::string param = bad.param;
        body[param.substr(0, param.find_first_of(".["))] = ordered_json::parse(bad.value);
        auto error = ask(routes, "/v1/chat/completions", body, 400)["error"];
        EXPECT_EQ(error["param"], param) << bad.value;
        EXPECT_EQ(error["type"], "invalid_request_error");
        EXPECT_NE(error["message"].get<std::string>().find(param.substr(0, param.find_first_of(".["))),
                  std::string::npos)
            << error;
    }
    for (const auto& bad : kBadOfCompletions) {
        ordered_json body = {{"prompt", "hi"}};
        std::string param = bad.param;
        body[param.substr(0, param.find_first_of(".["))] = ordered_json::parse(bad.value);
        auto error = ask(routes, "/v1/completions", body, 400)["error"];
        EXPECT_EQ(error["param"], param) << bad.value << error;
    }
}

TEST_F(OpenAi, RefusesBadBodies) {
    std::string deep = "{\"messages\":" + std::string(5000, '[') + std::string(5000, ']') + "}";
    for (std::string body :
         {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("5"),
          std::string("{\"a\":NaN}"), std::string("{\"temperature\":1e999}"), deep, std::string("\xff\xfe{}"),
          std::string("{\"a\":\"\xff\"}"), std::string("{}{}"), std::string("{'a':1}"),
          std::string("{\"a\":1,}")})
        for (const char* path :
             {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/apply-template"}) {
            auto writer = test::call(routes, "POST", path, body);
            ASSERT_TRUE(writer->wait());
            EXPECT_EQ(writer->status, 400) << path << body.substr(0, 40);
            EXPECT_FALSE(ordered_json::parse(writer->body)["error"]["message"].get<std::string>().empty());
        }
    EXPECT_EQ(ask(routes, "/tokenize", {{"content", 5}}, 400)["error"]["param"], "content");
    EXPECT_EQ(ask(routes, "/detokenize", {{"tokens", {1, -1}}}, 400)["error"]["param"], "tokens[1]");
}

}  // namespace
}  // namespace cachalot::server::openai_test
