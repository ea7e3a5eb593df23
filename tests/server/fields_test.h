// What the tests of fields share: a request of any dialect with some members, and whether it is refused.
#pragma once

#include "server/api/anthropic_read.h"
#include "server/api/openai_parse.h"
#include "server/api/responses_read.h"
#include "server/fake_service.h"

namespace cachalot::server::fields_test {

using nlohmann::ordered_json;

inline const char* const kDialects[] = {"chat", "completions", "responses", "messages"};

// The request that a body of this dialect with these members becomes.
inline Request read(const std::string& dialect, const std::string& members) {
    ordered_json body = ordered_json::parse(
        dialect == "responses" ? R"({"input": "Hello"})"
        : dialect == "completions"
            ? R"({"prompt": "Hello"})"
            : R"({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64})");
    body.update(ordered_json::parse(members));
    const ModelInfo info = FakeService().info();
    if (dialect == "responses") return read_responses_request(body, info).request;
    if (dialect == "messages") return read_anthropic_request(body, info, false).request;
    HttpRequest http;
    http.body = body.dump();
    if (dialect == "completions") return openai::parse_completion(http, info).requests.at(0);
    return openai::parse_chat(http, info).request;
}

inline void expect_refused(const std::string& dialect, const std::string& members, const std::string& param) {
    try {
        read(dialect, members);
        ADD_FAILURE() << dialect << " accepts " << members;
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status, 400);
        EXPECT_EQ(error.param, param) << error.what();
        EXPECT_TRUE(std::string(error.what()).starts_with(param + ": ")) << error.what();
    }
}

inline void expect_accepted(const std::string& dialect, const std::string& members) {
    EXPECT_NO_THROW(read(dialect, members)) << dialect << " " << members;
}

}  // namespace cachalot::server::fields_test
