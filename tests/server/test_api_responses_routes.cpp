// The endpoints of the Responses dialect: whom they ask, and how they fail.
#include <gmock/gmock.h>

#include "server/api/responses_write.h"
#include "server/responses_test.h"

namespace cachalot::server::responses_test {
namespace {

using testing::ElementsAre;

TEST(ResponsesRoutes, KeepsTheConnectionAliveWithRealEvents) {
    auto writer = std::make_shared<FakeWriter>();
    FakeService service;
    run_answer(service, {}, std::make_unique<ResponsesAnswer>("T", 1, ResponsesAnswerOptions{.stream = true}),
               writer, {.stream = true, .keep_alive = std::chrono::milliseconds(0)});
    service.sink(progress(512, 2048));
    service.sink(make_event(Kind::content, "Hi"));
    service.sink(progress(2048, 2048));
    service.sink(finished("stop"));
    service.sink(done());
    const std::vector<SseEvent> events = read_sse(writer->body);
    accumulate(events);
    ASSERT_EQ(events[2].name, "response.in_progress");
    EXPECT_EQ(events[2].data["prompt_progress"].dump(), R"({"processed":512,"total":2048})");
}

ApiError overflow() {
    ApiError error(400, "context_length_exceeded", "too long", "messages");
    error.prompt_tokens = 5000;
    error.max_tokens = 64;
    error.context = 4096;
    return error;
}

TEST(ResponsesRoutes, TellsOfAFullContextAsCodexExpects) {
    FakeService service;
    service.refusal = overflow();
    const auto whole = post(service, R"({"input": "x"})");
    EXPECT_EQ(whole->status, 400);
    const ordered_json error = whole->json()["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], "input");
    EXPECT_EQ(error["message"],
              "Your input exceeds the context window of this model: 5000 tokens + 64 of output > 4096.");

    const auto stream = post(service, R"({"input": "x", "stream": true})");
    EXPECT_EQ(stream->status, 200);
    EXPECT_TRUE(stream->over);
    const std::vector<SseEvent> events = read_sse(stream->body);
    EXPECT_THAT(names(events),
                ElementsAre("response.created", "response.in_progress", "error", "response.failed"));
    EXPECT_EQ(events[2].data["code"], "context_length_exceeded");
    EXPECT_EQ(events[2].data["error"], error);
    EXPECT_EQ(events[3].data["response"]["status"], "failed");
    EXPECT_EQ(events[3].data["response"]["error"]["code"], "context_length_exceeded");
}

TEST(ResponsesRoutes, LateErrorsEndTheStreamAndLeaveTheItemOpen) {
    FakeService service;
    service.events = {make_event(Kind::started), call_start(0, "c", "rm"), call_arguments(0, "{}"),
                      call_end(0), failed(ApiError(503, "shutting_down", "bye"))};
    const auto stream = post(service, R"({"input": "x", "stream": true})");
    const std::vector<SseEvent> events = read_sse(stream->body);
    EXPECT_THAT(names(events),
                ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                            "response.function_call_arguments.delta", "error", "response.failed"));
    EXPECT_EQ(events.back().data["response"]["error"].dump(), R"({"code":"shutting_down","message":"bye"})");
    EXPECT_TRUE(stream->over);
    EXPECT_EQ(post(service, R"({"input": "x"})")->status, 503);
}

TEST(ResponsesRoutes, OtherRefusalsAreHttpErrorsEvenForStreams) {
    FakeService service;
    service.refusal = ApiError(429, "queue_full", "busy");
    const auto writer = post(service, R"({"input": "x", "stream": true})");
    EXPECT_EQ(writer->status, 429);
    EXPECT_FALSE(writer->streaming);
    EXPECT_EQ(writer->json()["error"]["type"], "rate_limit_error");
}

TEST(ResponsesRoutes, SharedRefusalsNameTheInput) {
    FakeService service;
    service.refusal = ApiError(400, "invalid_request", "messages: their results are missing", "messages");
    const ordered_json error = post(service, R"({"input": "x"})")->json()["error"];
    EXPECT_EQ(error["param"], "input");
    EXPECT_EQ(error["message"], "input: their results are missing");
}

TEST(ResponsesRoutes, NothingIsStored) {
    FakeService service;
    for (const auto& [method, path] : {std::pair{"GET", "/v1/responses/{id}"},
                                       {"POST", "/v1/responses/{id}/cancel"},
                                       {"DELETE", "/v1/responses/{id}"}}) {
        const auto writer = ask(responses_routes(service), method, path, "");
        EXPECT_EQ(writer->status, 404);
        EXPECT_EQ(writer->json()["error"]["message"], "Responses are not stored by this server.");
    }
    for (const char* path : {"/v1/responses/input_tokens", "/v1/responses/compact"}) {
        const auto writer = ask(responses_routes(service), "POST", path, R"({"input": "x"})");
        EXPECT_EQ(writer->status, 404);
        EXPECT_NE(writer->json()["error"]["message"].get<std::string>().find("/v1/"), std::string::npos);
    }
}

TEST(ResponsesRoutes, AskTheServiceForTheTenantOfTheKey) {
    FakeService service;
    service.events = {finished("stop"), done()};
    const auto writer = post(service, R"({"input": "x"})");
    EXPECT_EQ(writer->status, 200);
    EXPECT_EQ(writer->json()["output"].dump(), "[]");
    EXPECT_EQ(service.requests.at(0).tenant, "tenant-1");
    post(service, R"({"input": "x", "cache_salt": "s"})");
    EXPECT_EQ(service.requests.at(1).tenant, "tenant-1\ns");
}

}  // namespace
}  // namespace cachalot::server::responses_test
