// Answers that have a form, of the small model that the project ships, through every dialect.
#include <gmock/gmock.h>

#include <regex>

#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/support.h"
#include "service/engine_service.h"
#include "support/nano.h"
#include "support/schema_checker.h"

namespace cachalot::server {
namespace {

using test::ask;
using test::stream;
using testing::HasSubstr;
using testing::StartsWith;

// clang-format off
const char* const kSchemas[] = {
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 3}},
        "required": ["name", "age", "tags"], "additionalProperties": false})",
    R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 9},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}, "required": ["v", "next"], "additionalProperties": false}}})",
    R"({"anyOf": [{"const": "yes"}, {"type": "integer", "minimum": -5, "maximum": 5}, {"type": "null"}]})",
    R"({"type": "object", "properties": {"größe": {"type": "boolean"}, "名": {"enum": ["東", "京都"]}, "a \"b\"": {"type": ["null", "boolean"]}},
        "required": ["名"], "additionalProperties": false})",
    R"({"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["x"], "additionalProperties": false}, "minItems": 2, "maxItems": 2})",
};
// clang-format on

class FormedAnswers : public testing::Test {
  protected:
    Engine engine{cachalot::test::nano(), {2}};
    std::unique_ptr<Service> service = make_engine_service(engine, options());
    std::vector<Route> routes = openai_routes(*service);

    static EngineServiceOptions options() {
        EngineServiceOptions o;
        o.chat.thinking = false;
        o.queue.limit = 64;
        o.scheduler.parallel = 4;
        o.scheduler.drafting = Drafting::lookup;
        return o;
    }

    static ordered_json chat(double temperature = 1.5, int max_tokens = 300) {
        return {{"messages", {{{"role", "user"}, {"content", "Tell me about a person, as JSON."}}}},
                {"temperature", temperature},
                {"max_tokens", max_tokens}};
    }
    static ordered_json with_schema(const char* schema, double temperature = 1.5) {
        auto body = chat(temperature);
        body["response_format"] = {
            {"type", "json_schema"},
            {"json_schema", {{"name", "n"}, {"strict", true}, {"schema", ordered_json::parse(schema)}}}};
        return body;
    }
    static std::string content(const ordered_json& answer, std::size_t choice = 0) {
        return answer["choices"][choice]["message"]["content"].get<std::string>();
    }
    std::string refusal(const ordered_json& body) {
        return ask(routes, "/v1/chat/completions", body, 400)["error"]["message"].get<std::string>();
    }

    // Whether a text is JSON that fits.
    static void expect_fits(const std::string& text, const char* schema) {
        const auto value = ordered_json::parse(text, nullptr, false);
        ASSERT_FALSE(value.is_discarded()) << text;
        EXPECT_EQ(cachalot::test::SchemaChecker(ordered_json::parse(schema)).problem(value), "") << text;
    }
};

// Four choices at once are a batch; drafts of what was written before are on.
TEST_F(FormedAnswers, FitTheirSchemasHoweverHotTheSampling) {
    int complete = 0;
    for (const char* schema : kSchemas)
        for (int seed = 0; seed < 2; ++seed) {
            auto body = with_schema(schema);
            body["max_tokens"] = 120;
            body["seed"] = seed;
            body["n"] = 4;
            const auto answer = ask(routes, "/v1/chat/completions", body);
            for (std::size_t i = 0; i < 4; ++i) {
                if (answer["choices"][i]["finish_reason"] != "stop") continue;  // a long chain of nodes
                ++complete;
                expect_fits(content(answer, i), schema);
            }
        }
    EXPECT_GT(complete, 25);
}

TEST_F(FormedAnswers, AreTheSameWithoutDraftsAndInStreams) {
    auto plain_options = options();
    plain_options.scheduler.drafting = Drafting::off;
    plain_options.scheduler.parallel = 1;
    Engine other(cachalot::test::nano(), {2});
    const auto plain = make_engine_service(other, plain_options);
    for (const char* schema : kSchemas)
        for (const double temperature : {0.0, 1.2}) {
            auto body = with_schema(schema, temperature);
            body["seed"] = 7;
            body["max_tokens"] = 100;
            body["logprobs"] = true;
            body["top_logprobs"] = 1;
            const auto answer = ask(routes, "/v1/chat/completions", body);
            if (answer["choices"][0]["finish_reason"] == "stop") expect_fits(content(answer), schema);
            const auto alone = ask(openai_routes(*plain), "/v1/chat/completions", body);
            EXPECT_EQ(content(alone), content(answer));
            EXPECT_EQ(alone["choices"][0]["logprobs"]["content"].size(),
                      answer["choices"][0]["logprobs"]["content"].size());
            std::string streamed;
            for (const auto& chunk : stream(routes, "/v1/chat/completions", body))
                if (!chunk["choices"].empty()) streamed += chunk["choices"][0]["delta"].value("content", "");
            EXPECT_EQ(streamed, content(answer));
        }
}

TEST_F(FormedAnswers, ReasonFirstAndFreely) {
    auto body = with_schema(kSchemas[0], 1.0);
    body["thinking"]["type"] = "enabled";
    for (int seed = 0; seed < 4; ++seed) {
        body["seed"] = seed;
        body["max_tokens"] = 600;
        const auto answer = ask(routes, "/v1/chat/completions", body);
        EXPECT_GT(answer["usage"]["completion_tokens_details"]["reasoning_tokens"].get<int>(), 1);
        if (answer["choices"][0]["finish_reason"] == "stop") expect_fits(content(answer), kSchemas[0]);
    }
    body["thinking_budget"] = 3;
    body["max_tokens"] = 300;
    expect_fits(content(ask(routes, "/v1/chat/completions", body)), kSchemas[0]);
}

TEST_F(FormedAnswers, AreReadFromEveryDialect) {
    const auto schema = ordered_json::parse(kSchemas[0]);
    const ordered_json response = {
        {"input", "A person."},
        {"reasoning", {{"effort", "none"}}},
        {"temperature", 1.5},
        {"text", {{"format", {{"type", "json_schema"}, {"name", "n"}, {"schema", schema}}}}}};
    const auto answered = ask(responses_routes(*service), "/v1/responses", response);
    expect_fits(answered["output"][0]["content"][0]["text"], kSchemas[0]);
    EXPECT_EQ(answered["text"]["format"]["schema"], schema);

    const ordered_json message = {
        {"messages", {{{"role", "user"}, {"content", "A person."}}}},
        {"max_tokens", 300},
        {"output_config", {{"format", {{"type", "json_schema"}, {"schema", schema}}}}}};
    expect_fits(ask(anthropic_routes(*service), "/v1/messages", message)["content"][0]["text"], kSchemas[0]);

    const ordered_json raw = {
        {"prompt", "Once upon a time"}, {"max_tokens", 300}, {"temperature", 1.5}, {"guided_json", schema}};
    expect_fits(ask(routes, "/v1/completions", raw)["choices"][0]["text"], kSchemas[0]);
}

TEST_F(FormedAnswers, MatchExpressionsChoicesAndGrammars) {
    for (int seed = 0; seed < 4; ++seed) {
        const auto written = [&](const char* name, const ordered_json& form) {
            auto body = chat();
            body["seed"] = seed;
            body[name] = form;
            const auto answer = ask(routes, "/v1/chat/completions", body);
            EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop") << answer;
            return content(answer);
        };
        const std::string pattern = "(red|green) [0-9]{2,5}<think>(ab)*c";
        EXPECT_TRUE(std::regex_match(written("regex", pattern), std::regex(pattern)));
        EXPECT_THAT(written("guided_choice", {"<invoke name=\"f\">", "<|tool|>\n\n", "不知"}),
                    testing::AnyOf("<invoke name=\"f\">", "<|tool|>\n\n", "不知"));
        EXPECT_TRUE(std::regex_match(written("grammar", "root ::= \"a\" (\"b\" | [0-9]) root?"),
                                     std::regex("(a[b0-9])+")));
    }
    // An object without a schema may go on for ever where the sampling is hot.
    auto body = chat(0, 200);
    body["format"] = "json";
    const auto answer = ask(routes, "/v1/chat/completions", body);
    EXPECT_THAT(content(answer), StartsWith("{"));
    if (answer["choices"][0]["finish_reason"] == "stop") {
        EXPECT_TRUE(ordered_json::parse(content(answer)).is_object());
    }
}

TEST_F(FormedAnswers, ThatAreCutSaySo) {
    auto body = with_schema(kSchemas[0]);
    body["max_tokens"] = 3;
    EXPECT_EQ(ask(routes, "/v1/chat/completions", body)["choices"][0]["finish_reason"], "length");
    auto stopped = with_schema(kSchemas[0], 0);
    stopped["stop"] = "\"age\"";
    const auto answer = ask(routes, "/v1/chat/completions", stopped);
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_THAT(content(answer), StartsWith("{"));
    EXPECT_EQ(content(answer).find("age"), std::string::npos);
}

TEST_F(FormedAnswers, GoOnFromABeginningThatFits) {
    auto body = with_schema(kSchemas[0]);
    const std::string begun = "{\"name\": \"Ann\", \"ag";
    body["messages"].push_back({{"role", "assistant"}, {"content", begun}});
    expect_fits(begun + content(ask(routes, "/v1/chat/completions", body)), kSchemas[0]);
    body["messages"].back()["content"] = "Here you are: {";
    EXPECT_THAT(refusal(body), StartsWith("messages: the answer that is begun"));
}

TEST_F(FormedAnswers, MayBeCallsWhereThereAreTools) {
    auto body = with_schema(kSchemas[0]);
    body["tools"] = ordered_json::parse(R"([{"type": "function", "function": {"name": "get_person",
        "description": "Get a person.", "parameters": {"type": "object", "properties": {"name": {"type": "string"}},
        "required": ["name"]}}}])");
    for (int seed = 0; seed < 3; ++seed) {
        body["seed"] = seed;
        const auto answer = ask(routes, "/v1/chat/completions", body);
        const auto& choice = answer["choices"][0];
        if (choice["finish_reason"] == "stop") expect_fits(content(answer), kSchemas[0]);
        if (choice["finish_reason"] == "tool_calls") {
            EXPECT_TRUE(choice["message"]["content"].is_null());
        }
    }
    body["tool_choice"] = "required";
    EXPECT_TRUE(ask(routes, "/v1/chat/completions", body)["choices"][0]["message"].contains("tool_calls"));
    body["tool_choice"] = "none";
    expect_fits(content(ask(routes, "/v1/chat/completions", body)), kSchemas[0]);
}

TEST_F(FormedAnswers, ThatCannotBeAreRefusedByName) {
    EXPECT_THAT(refusal(with_schema(R"({"type": "object", "properties": {"a": {"type": "thing"}}})")),
                testing::AllOf(StartsWith("response_format.json_schema.schema"), HasSubstr("properties"),
                               HasSubstr("a")));
    auto body = chat();
    body["regex"] = "(a";
    EXPECT_THAT(refusal(body), StartsWith("regex: "));
    body["regex"] = "a";
    body["ignore_eos"] = true;
    EXPECT_THAT(refusal(body), StartsWith("ignore_eos: "));
}

// Of a form of JSON the model is told, in the words that it was trained on.
TEST_F(FormedAnswers, AreToldToTheModel) {
    const auto prompt = [&](const ordered_json& body) {
        return ask(routes, "/apply-template", body)["prompt"].get<std::string>();
    };
    EXPECT_THAT(prompt(with_schema(R"({"type": "null"})")),
                HasSubstr("following schema to reply:\n{\"type\": \"null\"}"));
    auto body = chat();
    body["response_format"]["type"] = "json_object";
    EXPECT_THAT(prompt(body), HasSubstr("following schema to reply:\n{\"type\": \"object\"}"));
    body["response_format"]["type"] = "text";
    EXPECT_EQ(prompt(body), prompt(chat()));
    body["regex"] = "a";
    EXPECT_EQ(prompt(body), prompt(chat()));
}

}  // namespace
}  // namespace cachalot::server
