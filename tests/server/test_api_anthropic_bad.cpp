// Bodies that are refused with a message that names the field.
#include "server/api/anthropic.h"
#include "server/fake_service.h"

namespace cachalot::server::anthropic_test {
namespace {

using nlohmann::ordered_json;

struct Bad {
    const char* members;  // in place of those of a good body
    const char* field;
};

// clang-format off
const Bad kBad[] = {
    {R"({"messages": null})", "messages: "},
    {R"({"messages": []})", "messages: "},
    {R"({"messages": {}})", "messages: "},
    {R"({"messages": "Hello"})", "messages: "},
    {R"({"messages": ["Hello"]})", "messages[0]: "},
    {R"({"messages": [null]})", "messages[0]: "},
    {R"({"messages": [{"content": "x"}]})", "messages[0].role: "},
    {R"({"messages": [{"role": "tool", "content": "x"}]})", "messages[0].role: "},
    {R"({"messages": [{"role": 1, "content": "x"}]})", "messages[0].role: "},
    {R"({"messages": [{"role": "user"}]})", "messages[0].content: "},
    {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content: "},
    {R"({"messages": [{"role": "user", "content": {"type": "text"}}]})", "messages[0].content: "},
    {R"({"messages": [{"role": "user", "content": ["x"]}]})", "messages[0].content[0]: "},
    {R"({"messages": [{"role": "user", "content": [{}]}]})", "messages[0].content[0].type: "},
    {R"({"messages": [{"role": "user", "content": [{"type": 7}]}]})", "messages[0].content[0].type: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})", "messages[0].content[0].text: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "text", "text": []}]}]})", "messages[0].content[0].text: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]})", "messages[0].content[0].tool_use_id: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": ""}]}]})", "messages[0].content[0].tool_use_id: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": 1}]}]})", "messages[0].content[0].content: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [1]}]}]})", "messages[0].content[0].content[0]: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": "yes"}]}]})", "messages[0].content[0].is_error: "},
    {R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}]})", "messages[1].content: "},
    {R"({"messages": [{"role": "assistant", "content": [{"type": "thinking"}]}]})", "messages[0].content[0].thinking: "},
    {R"({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "ls"}]}]})", "messages[0].content[0].id: "},
    {R"({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "c"}]}]})", "messages[0].content[0].name: "},
    {R"({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": ""}]}]})", "messages[0].content[0].name: "},
    {R"({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "ls", "input": "{}"}]}]})", "messages[0].content[0].input: "},
    {R"({"max_tokens": null})", "max_tokens: "},
    {R"({"max_tokens": 0})", "max_tokens: "},
    {R"({"max_tokens": -1})", "max_tokens: "},
    {R"({"max_tokens": 1.5})", "max_tokens: "},
    {R"({"max_tokens": "64"})", "max_tokens: "},
    {R"({"max_tokens": 9223372036854775808})", "max_tokens: "},
    {R"({"max_tokens": 1e308})", "max_tokens: "},
    {R"({"model": 5})", "model: "},
    {R"({"stream": "true"})", "stream: "},
    {R"({"stream": 1})", "stream: "},
    {R"({"system": 5})", "system: "},
    {R"({"system": {"type": "text", "text": "x"}})", "system: "},
    {R"({"system": [{"type": "text"}]})", "system[0].text: "},
    {R"({"system": ["x"]})", "system[0]: "},
    {R"({"temperature": "hot"})", "temperature: "},
    {R"({"temperature": -0.1})", "temperature: "},
    {R"({"temperature": 1e308})", "temperature: "},
    {R"({"top_p": 1.1})", "top_p: "},
    {R"({"top_p": []})", "top_p: "},
    {R"({"top_k": -2})", "top_k: "},
    {R"({"top_k": 0.5})", "top_k: "},
    {R"({"top_k": 18446744073709551615})", "top_k: "},
    {R"({"stop_sequences": "END"})", "stop_sequences: "},
    {R"({"stop_sequences": [""]})", "stop_sequences[0]: "},
    {R"({"stop_sequences": ["a", 5]})", "stop_sequences[1]: "},
    {R"({"stop_sequences": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]})", "stop_sequences: "},
    {R"({"metadata": "u"})", "metadata: "},
    {R"({"metadata": {"user_id": 5}})", "metadata.user_id: "},
    {R"({"thinking": 5})", "thinking: "},
    {R"({"thinking": {}})", "thinking.type: "},
    {R"({"thinking": {"type": 1}})", "thinking.type: "},
    {R"({"thinking": {"type": "enabled", "budget_tokens": -5}})", "thinking.budget_tokens: "},
    {R"({"thinking": {"type": "enabled", "budget_tokens": "many"}})", "thinking.budget_tokens: "},
    {R"({"effort": "enormous"})", "effort: "},
    {R"({"output_config": 5})", "output_config: "},
    {R"({"output_config": {"effort": 500}})", "output_config.effort: "},
    {R"({"output_config": {"format": {"type": "json_schema", "json_schema": {}}}})", "output_config.format.json_schema: "},
    {R"({"tools": {}})", "tools: "},
    {R"({"tools": ["ls"]})", "tools[0]: "},
    {R"({"tools": [{"input_schema": {}}]})", "tools[0].name: "},
    {R"({"tools": [{"name": "", "input_schema": {}}]})", "tools[0].name: "},
    {R"({"tools": [{"name": "ls"}]})", "tools[0].input_schema: "},
    {R"({"tools": [{"name": "ls", "input_schema": "object"}]})", "tools[0].input_schema: "},
    {R"({"tools": [{"name": "ls", "description": 5, "input_schema": {}}]})", "tools[0].description: "},
    {R"({"tools": [{"type": 5, "name": "ls", "input_schema": {}}]})", "tools[0].type: "},
    {R"({"tools": [{"type": "computer_20250124", "name": "computer", "display_width_px": 1}]})", "tools[0].type: "},
    {R"({"tools": [{"type": "bash_20250124"}]})", "tools[0].name: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "document"}]}]})", "messages[0].content[0].source: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text"}}]}]})", "messages[0].content[0].source.data: "},
    {R"({"messages": [{"role": "user", "content": [{"type": "search_result", "content": 5}]}]})", "messages[0].content[0].content: "},
    {R"({"tool_choice": "auto"})", "tool_choice: "},
    {R"({"tools": [{"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "tool", "name": "web_search"}})", "tool_choice.name: "},
    {R"({"tools": [{"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "any"}})", "tool_choice: "},
    {R"({"tool_choice": {}})", "tool_choice.type: "},
    {R"({"tool_choice": {"type": "some"}})", "tool_choice.type: "},
    {R"({"tool_choice": {"type": "any"}})", "tool_choice: "},
    {R"({"tool_choice": {"type": "tool"}})", "tool_choice.name: "},
    {R"({"tool_choice": {"type": "tool", "name": "ls"}})", "tool_choice.name: "},
    {R"({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}})", "tool_choice.disable_parallel_tool_use: "},
};
// clang-format on

void expect_refused(const std::string& body, const std::string& field) {
    FakeService service;
    const auto writer = ask(anthropic_routes(service), "POST", "/v1/messages", body);
    ASSERT_EQ(writer->status, 400) << body;
    EXPECT_TRUE(service.requests.empty());
    const ordered_json answer = writer->json();
    EXPECT_EQ(answer["type"], "error");
    EXPECT_EQ(answer["error"]["type"], "invalid_request_error");
    EXPECT_TRUE(answer["error"]["message"].get<std::string>().starts_with(field)) << body << "\n" << answer;
}

TEST(AnthropicBadRequests, NameTheField) {
    for (const Bad& bad : kBad) {
        ordered_json body = ordered_json::parse(
            R"({"model": "m", "max_tokens": 64, "stream": true, "messages": [{"role": "user", "content": "Hello"}]})");
        body.update(ordered_json::parse(bad.members));
        expect_refused(body.dump(), bad.field);
    }
}

TEST(AnthropicBadRequests, MustBeJsonObjects) {
    const std::string deep(100000, '[');
    for (const char* body : {"", "{", "[]", "5", "null", "{} {}", "\"\xff\"", "{\"messages\": NaN}",
                             "\xef\xbb\xbf", deep.c_str()})
        expect_refused(body, "the request");
    expect_refused(fmt::format("{{\"messages\": {}", deep), "the request");
}

}  // namespace
}  // namespace cachalot::server::anthropic_test
