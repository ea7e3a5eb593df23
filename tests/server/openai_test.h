// What the tests of OpenAI's dialect share: its routes over a scripted model.
#pragma once

#include "server/api/openai.h"
#include "server/support.h"
#include "service/scripted_service.h"

namespace cachalot::server::openai_test {

using test::ask;
using test::stream;

inline const char* const kScript = R"({
  "model": "scripted-v4",
  "context": 20000,
  "rules": [
    {"match": {"has_tool_result": true}, "content": "It is sunny."},
    {"match": {"contains": "weather"}, "reasoning": "I should look.", "content": "Let me see.",
     "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}},
                    {"name": "get_time", "arguments": {}}]},
    {"match": {"contains": "broken"}, "error": "the weights have gone"},
    {"match": {"contains": "slow"}, "content": "one two three four five six seven eight", "delay_ms_per_token": 50},
    {"match": {"contains": "cut"}, "content": "to be", "finish_reason": "length"},
    {"match": {"contains": "bytes"}, "content": "é\u4e2d😀 end", "chunk": "char"}
  ],
  "default": {"reasoning": "Hm.", "content": "Hello there, friend."}
})";

class OpenAi : public testing::Test {
  protected:
    test::TemporaryFile script{kScript};
    std::unique_ptr<Service> service = make_scripted_service(Script::load(script.path));
    std::vector<Route> routes = openai_routes(*service);

    static ordered_json chat(const std::string& text) {
        return {{"model", "any"}, {"messages", {{{"role", "user"}, {"content", text}}}}};
    }
    static ordered_json with_tools(const std::string& text) {
        auto body = chat(text);
        for (const char* name : {"get_weather", "get_time"})
            body["tools"].push_back(
                {{"type", "function"}, {"function", {{"name", name}, {"parameters", {{"type", "object"}}}}}});
        return body;
    }
};

}  // namespace cachalot::server::openai_test
