// What the tests of Anthropic's dialect share: short ways to read a request and to post one.
#pragma once

#include "server/api/anthropic.h"
#include "server/api/anthropic_read.h"
#include "server/fake_service.h"

namespace cachalot::server::anthropic_test {

using nlohmann::ordered_json;

// Only the last messages matter to most tests.
inline ordered_json body_with(const char* members) {
    ordered_json body = ordered_json::parse(
        R"({"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]})");
    body.update(ordered_json::parse(members));
    return body;
}

inline AnthropicRequest read(const char* members) {
    return read_anthropic_request(body_with(members), FakeService().info(), false);
}

inline std::vector<Message> messages(const char* list) {
    ordered_json body = body_with("{}");
    body["messages"] = ordered_json::parse(list);
    return read_anthropic_request(body, FakeService().info(), false).request.conversation.messages;
}

inline std::shared_ptr<FakeWriter> post(FakeService& service, const ordered_json& body,
                                        const char* path = "/v1/messages") {
    return ask(anthropic_routes(service), "POST", path, body.dump());
}

// Thoughts, text and a call.
inline std::vector<Event> tool_answer() {
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

}  // namespace cachalot::server::anthropic_test
