#include "server/api/anthropic.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "server/api/anthropic_read.h"
#include "server/api/anthropic_write.h"
#include "server/fake_service.h"
#include "server/random_answer.h"

namespace cachalot::server {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;

// Only the last messages matter to most tests.
ordered_json body_with(const char* members) {
    ordered_json body = ordered_json::parse(
        R"({"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]})");
    body.update(ordered_json::parse(members));
    return body;
}

AnthropicRequest read(const char* members) {
    return read_anthropic_request(body_with(members), FakeService().info(), false);
}

std::vector<Message> messages(const char* list) {
    ordered_json body = body_with("{}");
    body["messages"] = ordered_json::parse(list);
    return read_anthropic_request(body, FakeService().info(), false).request.conversation.messages;
}

std::shared_ptr<FakeWriter> post(FakeService& service, const ordered_json& body,
                                 const char* path = "/v1/messages") {
    return ask(anthropic_routes(service), "POST", path, body.dump());
}

// --- requests

TEST(AnthropicRequest, ReadsAPlainConversation) {
    const AnthropicRequest r =
        read(R"({"system": "Be brief.", "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 7,
                 "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "unknown": {"x": [1]}})");
    EXPECT_EQ(r.model, "claude-x");
    EXPECT_TRUE(r.stream);
    const std::vector<Message>& m = r.request.conversation.messages;
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].role, Role::system);
    EXPECT_EQ(content_text(m[0].content), "Be brief.");
    EXPECT_EQ(m[1].role, Role::user);
    EXPECT_EQ(content_text(m[1].content), "Hello");
    EXPECT_EQ(r.request.generation.max_tokens, 64);
    EXPECT_TRUE(r.request.max_tokens_given);
    EXPECT_EQ(r.request.generation.stops, std::vector<std::string>{"END"});
    EXPECT_FLOAT_EQ(r.request.generation.sampling.temperature, 0.5f);
    EXPECT_FLOAT_EQ(r.request.generation.sampling.top_p, 0.9f);
    EXPECT_EQ(r.request.generation.sampling.top_k, 7);
    EXPECT_FALSE(r.request.chat.thinking);
}

TEST(AnthropicRequest, ThinksIfAsked) {
    EXPECT_TRUE(read(R"({"thinking": {"type": "enabled", "budget_tokens": 2000}})").request.chat.thinking);
    EXPECT_TRUE(read(R"({"thinking": {"type": "adaptive"}})").request.chat.thinking);
    EXPECT_TRUE(read(R"({"thinking": {"type": "auto"}})").request.chat.thinking);
    EXPECT_THROW(read(R"({"thinking": {"type": "of_tomorrow"}})"), ApiError);
    EXPECT_FALSE(read(R"({"thinking": {"type": "disabled"}})").request.chat.thinking);
    EXPECT_FALSE(read(R"({"output_config": {"effort": "high"}})").request.chat.thinking);
    EXPECT_EQ(read(R"({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}})")
                  .request.chat.effort,
              Effort::max);
    EXPECT_EQ(read(R"({"thinking": {"type": "adaptive"}, "effort": "high"})").request.chat.effort,
              Effort::high);
}

TEST(AnthropicRequest, JoinsSystemBlocksWithoutTheBillingLine) {
    const AnthropicRequest r = read(R"({"system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=1a2b;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "x-anthropic-billing-header: cch=9;\nRules"}]})");
    EXPECT_EQ(content_text(r.request.conversation.messages[0].content), "You are an agent.\n\nRules");
}

TEST(AnthropicRequest, NoiseStaysIfTheOperatorWantsIt) {
    ModelInfo info = FakeService().info();
    info.remove_client_noise = false;
    const auto body = body_with(R"({"system": "x-anthropic-billing-header: 1\nRules"})");
    const auto messages = read_anthropic_request(body, info, false).request.conversation.messages;
    EXPECT_EQ(content_text(messages[0].content), "x-anthropic-billing-header: 1\nRules");
}

TEST(AnthropicRequest, MayBeUrgentOrNot) {
    EXPECT_EQ(read("{}").request.priority, Priority::normal);
    EXPECT_EQ(read(R"({"service_tier": "standard_only"})").request.priority, Priority::normal);
    EXPECT_EQ(read(R"({"priority": -1})").request.priority, Priority::interactive);
    EXPECT_EQ(read(R"({"priority": 3})").request.priority, Priority::background);
}

TEST(AnthropicRequest, SplitsToolResultsFromText) {
    const std::vector<Message> m = messages(R"([
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "I should look.", "signature": "s"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "Looking."},
            {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
            {"type": "tool_use", "id": "call_1", "name": "ls", "input": {"path": "/tmp", "all": true}},
            {"type": "tool_use", "id": "call_2", "name": "pwd"}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "a b"},
            {"type": "tool_result", "tool_use_id": "call_2", "is_error": true,
             "content": [{"type": "text", "text": "no such command"}, {"type": "image", "source": {}}]},
            {"type": "text", "text": "And now?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]}])");
    ASSERT_EQ(m.size(), 5u);
    EXPECT_EQ(m[1].role, Role::assistant);
    EXPECT_EQ(m[1].reasoning, "I should look.");
    EXPECT_EQ(content_text(m[1].content), "Looking.");
    ASSERT_EQ(m[1].tool_calls.size(), 2u);
    EXPECT_EQ(m[1].tool_calls[0].id, "call_1");
    EXPECT_EQ(m[1].tool_calls[0].name, "ls");
    EXPECT_EQ(m[1].tool_calls[0].arguments, R"({"path": "/tmp", "all": true})");
    EXPECT_EQ(m[1].tool_calls[1].arguments, "{}");
    EXPECT_EQ(m[2].role, Role::tool);
    EXPECT_EQ(m[2].tool_call_id, "call_1");
    EXPECT_EQ(content_text(m[2].content), "a b");
    EXPECT_EQ(m[3].role, Role::tool);
    EXPECT_EQ(content_text(m[3].content), "Error: no such command\n\n[Unsupported image]");
    EXPECT_EQ(m[4].role, Role::user);
    EXPECT_EQ(content_text(m[4].content), "And now?\n\n[Unsupported image]");
}

TEST(AnthropicRequest, KeepsTheOrderOfTextAndResults) {
    const std::vector<Message> m = messages(R"([{"role": "user", "content": [
        {"type": "text", "text": "before"},
        {"type": "tool_result", "tool_use_id": "c", "is_error": true},
        {"type": "text", "text": "after"}]}])");
    ASSERT_EQ(m.size(), 3u);
    EXPECT_EQ(content_text(m[0].content), "before");
    EXPECT_EQ(content_text(m[1].content), "Error: ");
    EXPECT_EQ(content_text(m[2].content), "after");
}

TEST(AnthropicRequest, AMessageWithoutContentIsStillATurn) {
    EXPECT_EQ(messages(R"([{"role": "user", "content": ""}])").size(), 1u);
    EXPECT_EQ(messages(R"([{"role": "user", "content": []}])").size(), 1u);
}

TEST(AnthropicRequest, ReadsToolsAndLeavesOutThoseOfTheServer) {
    const AnthropicRequest r = read(R"({"tools": [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"name": "ls", "description": "lists", "input_schema": {"type": "object"}, "cache_control": {}},
        {"type": "custom", "name": "pwd", "input_schema": {"type": "object", "properties": {}}}]})");
    ASSERT_EQ(r.request.conversation.tools.size(), 2u);
    EXPECT_EQ(r.request.conversation.tools[0].dump(),
              R"({"name":"ls","description":"lists","parameters":{"type":"object"}})");
    EXPECT_EQ(r.request.conversation.tools[1].dump(),
              R"({"name":"pwd","parameters":{"type":"object","properties":{}}})");
}

TEST(AnthropicRequest, ReadsToolChoice) {
    const auto choice = [](const char* json) {
        ordered_json body = body_with(R"({"tools": [{"name": "ls", "input_schema": {}},
                                                    {"type": "web_search_20250305", "name": "web_search"}]})");
        body["tool_choice"] = ordered_json::parse(json);
        return read_anthropic_request(body, FakeService().info(), false).request;
    };
    EXPECT_EQ(choice(R"({"type": "auto"})").tool_choice, ToolChoice::automatic);
    EXPECT_EQ(choice(R"({"type": "any"})").tool_choice, ToolChoice::required);
    EXPECT_EQ(choice(R"({"type": "none"})").tool_choice, ToolChoice::none);
    EXPECT_EQ(choice(R"({"type": "tool", "name": "ls"})").tool_choice, ToolChoice::named);
    EXPECT_EQ(choice(R"({"type": "tool", "name": "ls"})").named_tool, "ls");
    EXPECT_THROW(choice(R"({"type": "tool", "name": "web_search"})"), ApiError);
    EXPECT_TRUE(choice(R"({"type": "auto"})").parallel_tool_calls);
    EXPECT_FALSE(choice(R"({"type": "auto", "disable_parallel_tool_use": true})").parallel_tool_calls);
}

// --- answers

std::vector<Event> tool_answer() {
    return {make_event(Kind::started),
            make_event(Kind::reasoning, "Let me "),
            make_event(Kind::reasoning, "see."),
            make_event(Kind::content, "Looking."),
            call_start(0, "call_1", "ls"),
            call_arguments(0, "{\"path\": "),
            call_arguments(0, "\"/tmp\"}"),
            call_end(0),
            finished("tool_calls"),
            done()};
}

TEST(AnthropicStream, SaysEveryByteOfAnAnswerWithAllKindsOfBlocks) {
    AnthropicAnswer answer("T", "claude-x");
    answer.sized(100);
    std::string bytes = answer.start();
    for (const Event& event : tool_answer()) bytes += answer.feed(event);
    EXPECT_EQ(bytes,
              R"(event: message_start
data: {"type":"message_start","message":{"id":"msg_T","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"cachalot_T"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Looking."}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_1","name":"ls","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"path\": "}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"/tmp\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":40,"cache_creation_input_tokens":0,"cache_read_input_tokens":60,"output_tokens":20}}

event: message_stop
data: {"type":"message_stop"}

)");
    EXPECT_EQ(
        answer.whole(),
        R"({"id":"msg_T","type":"message","role":"assistant","model":"claude-x","content":[{"type":"thinking","thinking":"Let me see.","signature":"cachalot_T"},{"type":"text","text":"Looking."},{"type":"tool_use","id":"call_1","name":"ls","input":{"path": "/tmp"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":40,"cache_creation_input_tokens":0,"cache_read_input_tokens":60,"output_tokens":20}})");
}

TEST(AnthropicStream, NamesWhyItStopped) {
    const auto stop = [](Event event) {
        AnthropicAnswer answer("T", "m");
        answer.feed(event);
        const ordered_json message = ordered_json::parse(answer.whole());
        return message["stop_reason"].dump() + message["stop_sequence"].dump();
    };
    EXPECT_EQ(stop(finished("stop")), R"("end_turn"null)");
    EXPECT_EQ(stop(finished("length")), R"("max_tokens"null)");
    EXPECT_EQ(stop(finished("stop", "END")), R"("stop_sequence""END")");
    EXPECT_EQ(stop(finished("tool_calls")), R"("tool_use"null)");
}

TEST(AnthropicRequest, TextIsReadUnderTheNamesOfResponses) {
    const auto r = read(R"({"system": [{"type": "input_text", "text": "S"}], "messages": [
        {"role": "user", "content": [{"type": "input_text", "text": "Q"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "input_text", "text": "R"}]}]}]})");
    std::vector<std::string> texts;
    for (const auto& message : r.request.conversation.messages)
        texts.push_back(content_text(message.content));
    EXPECT_EQ(texts, (std::vector<std::string>{"S", "Q", "A", "R"}));
}

TEST(AnthropicStream, AnswersOfNothingAreWhole) {
    AnthropicAnswer answer("T", "m");
    std::string bytes = answer.start() + answer.feed(finished("stop")) + answer.feed(done());
    EXPECT_THAT(names(read_sse(bytes)), ElementsAre("message_start", "message_delta", "message_stop"));
}

TEST(AnthropicStream, ACutOrBrokenCallStillHasAnObjectAsInput) {
    AnthropicAnswer answer("T", "m");
    answer.feed(call_start(0, "c", "ls"));
    answer.feed(call_arguments(0, "{\"path\": \"/t"));
    EXPECT_EQ(ordered_json::parse(answer.whole())["content"][0]["input"].dump(), "{}");
}

TEST(AnthropicStream, TheInputOfACallHasTheBytesOfTheStream) {
    for (const std::string& arguments :
         {std::string(R"({"n": 12345678901234567890123, "m": -98765432109876543210, "f": 0.1000, "e": 1E2})"),
          R"({"deep": )" + std::string(300, '[') + std::string(300, ']') + "}",
          R"({"deep": )" + std::string(100000, '[') + std::string(100000, ']') + "}",
          std::string(R"({"a": 1, "a": "twice", "é": "\u00e9"})"), std::string(" {\n}\n")}) {
        AnthropicAnswer answer("T", "m");
        answer.feed(make_event(Kind::content, "Hi"));
        answer.feed(call_start(0, "c", "ls"));
        std::string streamed;
        for (std::size_t at = 0; at < arguments.size(); at += 5000)
            for (const auto& event : read_sse(answer.feed(call_arguments(0, arguments.substr(at, 5000)))))
                streamed += event.data["delta"]["partial_json"];
        EXPECT_EQ(streamed, arguments);
        answer.feed(call_end(0));
        answer.feed(finished("tool_calls"));
        EXPECT_NE(answer.whole().find(R"("name":"ls","input":)" + arguments + "}],"), std::string::npos)
            << answer.whole().substr(0, 1000);
    }
    AnthropicAnswer half("T", "m");  // of a surrogate pair, which strict readers refuse
    half.feed(call_start(0, "c", "ls"));
    half.feed(call_arguments(0, R"({"a": "\ud83d"})"));
    EXPECT_EQ(ordered_json::parse(half.whole())["content"][0]["input"].dump(), "{\"a\":\"\uFFFD\"}");
    for (const char* arguments : {"[1]", "5", "\"{}\"", "{} {}", "", "{\"a\": NaN}"}) {
        AnthropicAnswer answer("T", "m");
        answer.feed(call_start(0, "c", "ls"));
        answer.feed(call_arguments(0, arguments));
        EXPECT_EQ(ordered_json::parse(answer.whole())["content"][0]["input"].dump(), "{}") << arguments;
    }
}

// What an SDK makes of a stream; fails where one would.
ordered_json accumulate(const std::vector<SseEvent>& events) {
    ordered_json message;
    std::vector<std::string> inputs;
    bool open = false, delta = false, stopped = false;
    for (const auto& [name, data] : events) {
        EXPECT_EQ(data["type"], name);
        EXPECT_FALSE(stopped) << name << " after message_stop";
        if (name == "message_start") {
            EXPECT_TRUE(message.is_null());
            message = data["message"];
            EXPECT_GT(message["usage"]["input_tokens"], 0);
            continue;
        }
        if (name == "ping") continue;
        EXPECT_FALSE(message.is_null()) << name << " before message_start";
        ordered_json& content = message["content"];
        if (name == "content_block_start") {
            EXPECT_FALSE(open || delta);
            EXPECT_EQ(data["index"], content.size());
            content.push_back(data["content_block"]);
            inputs.emplace_back();
            open = true;
        } else if (name == "content_block_delta") {
            EXPECT_TRUE(open);
            EXPECT_EQ(data["index"], content.size() - 1);
            ordered_json& block = content.back();
            const ordered_json& d = data["delta"];
            const auto append = [&](const char* key) {
                block[key] = block[key].get<std::string>() + d[key].get<std::string>();
            };
            if (d["type"] == "text_delta")
                append("text");
            else if (d["type"] == "thinking_delta")
                append("thinking");
            else if (d["type"] == "signature_delta")
                block["signature"] = d["signature"];
            else if (d["type"] == "input_json_delta")
                inputs.back() += d["partial_json"].get<std::string>();
            else
                ADD_FAILURE() << d;
        } else if (name == "content_block_stop") {
            EXPECT_TRUE(open);
            EXPECT_EQ(data["index"], content.size() - 1);
            if (!inputs.back().empty()) content.back()["input"] = ordered_json::parse(inputs.back());
            open = false;
        } else if (name == "message_delta") {
            EXPECT_FALSE(open || delta);
            delta = true;
            message.update(data["delta"]);
            message["usage"].update(data["usage"]);
        } else if (name == "message_stop") {
            EXPECT_TRUE(delta);
            stopped = true;
        } else {
            ADD_FAILURE() << name;
        }
    }
    EXPECT_TRUE(stopped);
    return message;
}

RC_GTEST_PROP(AnthropicProperties, StreamAndWholeAnswerAreTheSameMessage, ()) {
    FakeService service;
    service.events = random_answer();
    const auto whole = post(service, body_with("{}"));
    const auto stream = post(service, body_with(R"({"stream": true})"));
    RC_ASSERT(whole->status == 200 && !whole->streaming && whole->over);
    RC_ASSERT(stream->status == 200 && stream->streaming && stream->over);
    ordered_json a = whole->json(), b = accumulate(read_sse(stream->body));
    for (ordered_json* message : {&a, &b}) {
        message->erase("id");
        for (ordered_json& block : (*message)["content"]) block.erase("signature");
    }
    RC_ASSERT(a.dump() == b.dump());
}

// --- routes

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
    run_answer(service, {}, std::make_unique<AnthropicAnswer>("T", "m"), writer,
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
    run_answer(service, {}, std::make_unique<AnthropicAnswer>("T", "m"), writer,
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
}  // namespace cachalot::server
