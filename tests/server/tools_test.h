// What the tests of tools share: requests of each dialect with some members, and the field that is refused.
#pragma once

#include "server/api/anthropic_read.h"
#include "server/api/openai_parse.h"
#include "server/api/responses_read.h"
#include "server/fake_service.h"

namespace cachalot::server::tools_test {

using nlohmann::ordered_json;

inline Request responses(const std::string& members) {
    ordered_json body = {{"input", "x"}};
    body.update(ordered_json::parse(members));
    return read_responses_request(body, FakeService().info()).request;
}

inline openai::ChatRequest chat(const std::string& members) {
    ordered_json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}};
    body.update(ordered_json::parse(members));
    HttpRequest http;
    http.body = body.dump();
    return openai::parse_chat(http, FakeService().info());
}

inline Request anthropic(const std::string& members) {
    ordered_json body = {{"max_tokens", 5}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
    body.update(ordered_json::parse(members));
    return read_anthropic_request(body, FakeService().info(), false).request;
}

struct NamePlace {
    const char *path, *members;
};

inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

inline std::string refused_field(const std::function<void()>& read) {
    try {
        read();
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status, 400);
        EXPECT_TRUE(std::string(error.what()).starts_with(error.param + ": ")) << error.what();
        return error.param;
    }
    return "";
}

}  // namespace cachalot::server::tools_test
