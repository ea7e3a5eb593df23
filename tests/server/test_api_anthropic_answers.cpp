// Answers of Anthropic's dialect, streamed and whole.
#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "server/anthropic_test.h"
#include "server/api/anthropic_write.h"
#include "server/random_answer.h"

namespace cachalot::server::anthropic_test {
namespace {

using testing::ElementsAre;

TEST(AnthropicStream, SaysEveryByteOfAnAnswerWithAllKindsOfBlocks) {
    AnthropicAnswer answer("T", "claude-x", true);
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
        AnthropicAnswer answer("T", "m", true);
        answer.feed(event);
        const ordered_json message = ordered_json::parse(answer.whole());
        return message["stop_reason"].dump() + message["stop_sequence"].dump();
    };
    EXPECT_EQ(stop(finished("stop")), R"("end_turn"null)");
    EXPECT_EQ(stop(finished("length")), R"("max_tokens"null)");
    EXPECT_EQ(stop(finished("stop", "END")), R"("stop_sequence""END")");
    EXPECT_EQ(stop(finished("tool_calls")), R"("tool_use"null)");
}

TEST(AnthropicStream, AnswersOfNothingAreWhole) {
    AnthropicAnswer answer("T", "m", true);
    std::string bytes = answer.start() + answer.feed(finished("stop")) + answer.feed(done());
    EXPECT_THAT(names(read_sse(bytes)), ElementsAre("message_start", "message_delta", "message_stop"));
}

TEST(AnthropicStream, ACutOrBrokenCallStillHasAnObjectAsInput) {
    AnthropicAnswer answer("T", "m", true);
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
        AnthropicAnswer answer("T", "m", true);
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
    AnthropicAnswer half("T", "m", true);  // of a surrogate pair, which strict readers refuse
    half.feed(call_start(0, "c", "ls"));
    half.feed(call_arguments(0, R"({"a": "\ud83d"})"));
    EXPECT_EQ(ordered_json::parse(half.whole())["content"][0]["input"].dump(), "{\"a\":\"\uFFFD\"}");
    for (const char* arguments : {"[1]", "5", "\"{}\"", "{} {}", "", "{\"a\": NaN}"}) {
        AnthropicAnswer answer("T", "m", true);
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

RC_GTEST_PROP(AnthropicProperties, NoEventIsMadeWhereNoneIsAskedFor, ()) {
    AnthropicAnswer whole("T", "m", false), stream("T", "m", true);
    for (const Event& event : random_answer()) {
        RC_ASSERT(whole.feed(event) == "");
        stream.feed(event);
    }
    RC_ASSERT(whole.whole() == stream.whole());
}

}  // namespace
}  // namespace cachalot::server::anthropic_test
