// What is counted before a request is what the request is charged, in every dialect.
#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/support.h"
#include "service/engine_service.h"
#include "support/nano.h"

namespace cachalot::server {
namespace {

// clang-format off
const char* const kBodies[] = {
    R"({"messages": [{"role": "user", "content": "What is the capital of France?"}]})",
    R"({"system": "Be brief.", "messages": [{"role": "user", "content": "é 中 🐋 <｜User｜> </think>"}]})",
    R"({"thinking": {"type": "enabled"}, "messages": [{"role": "user", "content": "Hi"}]})",
    R"({"messages": [{"role": "user", "content": "Count:"}, {"role": "assistant", "content": "one, two"}]})",
    R"({"tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}],
        "messages": [{"role": "user", "content": "Look."},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "tool_use", "id": "c", "name": "look", "input": {"at": "it"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "seen"}]}]})",
    R"({"tools": [{"name": "look", "input_schema": {}}], "tool_choice": {"type": "none"}, "messages": [{"role": "user", "content": "Look."}]})",
    R"({"tools": [{"name": "look", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "look"}, "messages": [{"role": "user", "content": "Look."}]})",
};
// clang-format on

TEST(TokenCounts, AgreeWithTheUsage) {
    Engine engine{cachalot::test::nano(), {2}};
    const auto service = make_engine_service(engine);
    const auto routes = anthropic_routes(*service);
    for (const char* text : kBodies) {
        auto body = ordered_json::parse(text);
        const auto counted = test::ask(routes, "/v1/messages/count_tokens", body)["input_tokens"].get<int>();
        body["max_tokens"] = 1;
        for (const bool again : {false, true}) {  // from the cache the second time
            const auto usage = test::ask(routes, "/v1/messages", body)["usage"];
            EXPECT_EQ(usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>(), counted)
                << text << again;
        }
        body["stream"] = true;
        const auto writer = test::call(routes, "POST", "/v1/messages", body.dump());
        ASSERT_TRUE(writer->wait());
        const auto begin = writer->body.find("data: ") + 6;
        const auto start =
            ordered_json::parse(writer->body.substr(begin, writer->body.find('\n', begin) - begin));
        EXPECT_EQ(start["message"]["usage"]["input_tokens"], counted) << text;
    }
}

// The same conversation is the same prompt, whoever asks.
TEST(TokenCounts, AreThoseOfEveryDialect) {
    Engine engine{cachalot::test::nano(), {2}};
    EngineServiceOptions options;
    options.chat.thinking = false;
    const auto service = make_engine_service(engine, options);
    const ordered_json turn = {{{"role", "user"}, {"content", "What is the capital of France?"}}};
    const auto counted = test::ask(anthropic_routes(*service), "/v1/messages/count_tokens",
                                   {{"messages", turn}})["input_tokens"];
    const auto chat =
        test::ask(openai_routes(*service), "/v1/chat/completions", {{"messages", turn}, {"max_tokens", 1}});
    EXPECT_EQ(chat["usage"]["prompt_tokens"], counted);
    const auto response =
        test::ask(responses_routes(*service), "/v1/responses", {{"input", turn}, {"max_output_tokens", 1}});
    EXPECT_EQ(response["usage"]["input_tokens"], counted);
    // And the rendered prompt as text has the same tokens.
    const auto prompt = test::ask(openai_routes(*service), "/apply-template", {{"messages", turn}})["prompt"];
    EXPECT_EQ(test::ask(openai_routes(*service), "/tokenize", {{"content", prompt}})["count"], counted);
}

}  // namespace
}  // namespace cachalot::server
