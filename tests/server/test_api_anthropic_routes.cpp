// The endpoints of Anthropic's dialect: whom they ask, and how they fail.
#include <gmock/gmock.h>

#include "server/anthropic_test.h"
#include "server/api/anthropic_write.h"

namespace cachalot::server::anthropic_test {
namespace {

using testing::ElementsAre;

TEST(AnthropicRoutes, AskTheServiceForTheTenantOfTheKey) {
    FakeService service;
    service.events = tool_answer();
    const auto writer = post(service, body_with("{}"));
    EXPECT_EQ(writer->content_type, "application/json");
    ASSERT_EQ(service.requests.size(), 1u);
    EXPECT_EQ(service.requests[0].tenant, "tenant-1");
    post(service, body_with(R"({"cache_salt": "s"})"));
    EXPECT_EQ(service.requests.at(1).tenant, "tenant-1\ns");
    EXPECT_FALSE(service.requests[0].abandoned());
    writer->gone = true;
    EXPECT_TRUE(service.requests[0].abandoned());
}

TEST(AnthropicRoutes, StreamBeginsBeforeTheModelDoes) {
    FakeService service;
    service.prompt_tokens = 77;
    const auto writer = post(service, body_with(R"({"stream": true})"));
    const std::vector<SseEvent> events = read_sse(writer->body);
    ASSERT_THAT(names(events), ElementsAre("message_start"));
    EXPECT_EQ(events[0].data["message"]["usage"]["input_tokens"], 77);
    EXPECT_FALSE(writer->over);
    EXPECT_TRUE(service.counted.empty()) << "the prompt is encoded once, by submit()";
}

TEST(AnthropicRoutes, ErrorsBearTheRequestsId) {
    FakeService service;
    EXPECT_EQ(post(service, ordered_json::object())->json()["request_id"], "req_T");
    service.events = {failed(ApiError(503, "shutting_down", "bye"))};
    EXPECT_EQ(post(service, body_with("{}"))->json()["request_id"], "req_T");
}

TEST(AnthropicRoutes, NumbersOfTokensCanBeScaledToAnotherContext) {
    FakeService service;  // with a context of 4096
    service.events = {make_event(Kind::content, "x"), finished("stop"), done({100, 60, 20, 5})};
    const auto routes = anthropic_routes(service, 8192);
    const auto usage = ask(routes, "POST", "/v1/messages", body_with("{}").dump())->json()["usage"];
    EXPECT_EQ(usage["input_tokens"], 80);
    EXPECT_EQ(usage["cache_read_input_tokens"], 120);
    EXPECT_EQ(usage["output_tokens"], 40);
    EXPECT_EQ(
        ask(routes, "POST", "/v1/messages/count_tokens", body_with("{}").dump())->json()["input_tokens"],
        200);
}

TEST(AnthropicRoutes, PingsWhileNothingElseIsSent) {
    auto writer = std::make_shared<FakeWriter>();
    FakeService service;
    run_answer(service, {}, std::make_unique<AnthropicAnswer>("T", "m", true), writer,
               {.stream = true, .keep_alive = std::chrono::milliseconds(0)});
    service.sink(progress(0, 0));
    service.sink(progress(10, 100));
    service.sink(finished("stop"));
    service.sink(done());
    EXPECT_THAT(names(read_sse(writer->body)),
                ElementsAre("message_start", "ping", "ping", "message_delta", "message_stop"));
}

TEST(AnthropicRoutes, PingsAreFarApartHoweverOftenProgressIsReported) {
    auto writer = std::make_shared<FakeWriter>();
    FakeService service;
    run_answer(service, {}, std::make_unique<AnthropicAnswer>("T", "m", true), writer,
               {.stream = true, .keep_alive = std::chrono::hours(1)});
    for (int i = 0; i < 100; ++i) service.sink(progress(i, 100));
    EXPECT_THAT(names(read_sse(writer->body)), ElementsAre("message_start"));
}

TEST(AnthropicRoutes, CountTokensSaysNothingElse) {
    FakeService service;
    service.prompt_tokens = 12;
    ordered_json body = body_with(R"({"thinking": {"type": "enabled", "budget_tokens": 1}, "tools": []})");
    body.erase("max_tokens");
    const auto writer = post(service, body, "/v1/messages/count_tokens");
    EXPECT_EQ(writer->body, R"({"input_tokens":12})");
    EXPECT_TRUE(service.requests.empty());
    ASSERT_EQ(service.counted.size(), 1u);
    EXPECT_TRUE(service.counted[0].chat.thinking);
}

ApiError overflow(std::int64_t prompt, std::int64_t max_tokens) {
    ApiError error(400, "context_length_exceeded", "too long", "messages");
    error.prompt_tokens = prompt;
    error.max_tokens = max_tokens;
    error.context = 4096;
    return error;
}

TEST(AnthropicRoutes, TellsOfAFullContextInAnthropicsWords) {
    FakeService service;
    for (const bool stream : {false, true}) {
        const ordered_json body = body_with(stream ? R"({"stream": true})" : "{}");
        service.refusal = overflow(5000, 64);
        auto writer = post(service, body);
        EXPECT_EQ(writer->status, 400);
        EXPECT_EQ(writer->json()["type"], "error");
        EXPECT_EQ(
            writer->json()["error"].dump(),
            R"({"type":"invalid_request_error","message":"prompt is too long: 5000 tokens > 4096 maximum"})");
        EXPECT_EQ(writer->json()["request_id"], "req_T");

        service.refusal = overflow(4000, 200);
        EXPECT_EQ(post(service, body)->json()["error"]["message"],
                  "input length and `max_tokens` exceed context limit: 4000 + 200 > 4096");
    }
}

TEST(AnthropicRoutes, NamesErrorsByStatus) {
    const auto type = [](int status) {
        return anthropic_error(ApiError(status, "c", "m"), "r")["error"]["type"].get<std::string>();
    };
    EXPECT_EQ(type(400), "invalid_request_error");
    EXPECT_EQ(type(401), "authentication_error");
    EXPECT_EQ(type(403), "permission_error");
    EXPECT_EQ(type(404), "not_found_error");
    EXPECT_EQ(type(413), "request_too_large");
    EXPECT_EQ(type(422), "invalid_request_error");
    EXPECT_EQ(type(429), "rate_limit_error");
    EXPECT_EQ(type(500), "api_error");
    EXPECT_EQ(type(503), "overloaded_error");
    EXPECT_EQ(type(529), "overloaded_error");
}

// The library's tool runner keeps its conversation on the server unless it is refused in these words.
TEST(AnthropicRoutes, RefusesToKeepConversations) {
    FakeService service;
    for (const char* thread :
         {R"({"type": "create"})", R"({"type": "continue", "previous_message_id": "m"})"}) {
        const auto writer = post(service, body_with(fmt::format(R"({{"thread": {}}})", thread).c_str()));
        EXPECT_EQ(writer->status, 400);
        EXPECT_EQ(writer->json()["error"]["type"], "invalid_request_error");
        EXPECT_EQ(writer->json()["error"]["details"].dump(),
                  R"({"error_code":"thread_unsupported_request","unsupported":["thread"]})");
    }
    EXPECT_TRUE(service.requests.empty());
    service.events = tool_answer();
    EXPECT_EQ(post(service, body_with(R"({"thread": null})"))->status, 200);
}

TEST(AnthropicRoutes, AFullQueueSaysWhenToComeBack) {
    FakeService service;
    service.refusal = ApiError(429, "queue_full", "busy");
    service.refusal->retry_after = 7;
    const auto writer = post(service, body_with(R"({"stream": true})"));
    EXPECT_EQ(writer->status, 429);
    EXPECT_FALSE(writer->streaming);
    EXPECT_THAT(writer->headers, testing::Contains(testing::Pair("retry-after", "7")));
}

TEST(AnthropicRoutes, LateErrorsEndTheStream) {
    FakeService service;
    service.events = {make_event(Kind::started), make_event(Kind::content, "Hel"),
                      failed(ApiError(503, "shutting_down", "bye"))};
    const auto stream = post(service, body_with(R"({"stream": true})"));
    const std::vector<SseEvent> events = read_sse(stream->body);
    EXPECT_THAT(names(events),
                ElementsAre("message_start", "content_block_start", "content_block_delta", "error"));
    EXPECT_EQ(events.back().data["error"].dump(), R"({"type":"overloaded_error","message":"bye"})");
    EXPECT_TRUE(stream->over);

    const auto whole = post(service, body_with("{}"));
    EXPECT_EQ(whole->status, 503);
    EXPECT_EQ(whole->json()["error"]["type"], "overloaded_error");
}

TEST(AnthropicRoutes, BrokenUtf8OfTheModelIsRepaired) {
    FakeService service;
    service.events = {make_event(Kind::content,
                                 "a\xff"
                                 "b"),
                      finished("stop"), done()};
    EXPECT_EQ(post(service, body_with("{}"))->json()["content"][0]["text"], "a\uFFFDb");
}

}  // namespace
}  // namespace cachalot::server::anthropic_test
