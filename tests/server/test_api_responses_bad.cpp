// Bodies that are refused with a message and a `param` that name the field.
#include "server/api/responses.h"
#include "server/fake_service.h"

namespace cachalot::server::responses_test {
namespace {

using nlohmann::ordered_json;

struct Bad {
    const char* members;  // besides those of a good body
    const char* field;
};

// clang-format off
const Bad kBad[] = {
    {R"({"input": 5})", "input"},
    {R"({"input": {"role": "user"}})", "input"},
    {R"({"input": ["x"]})", "input[0]"},
    {R"({"input": [null]})", "input[0]"},
    {R"({"input": [{}]})", "input[0]"},
    {R"({"input": [{"id": "msg_1"}]})", "input[0]"},
    {R"({"input": [{"type": 5}]})", "input[0].type"},
    {R"({"input": [{"type": "item_reference", "id": "msg_1"}]})", "input[0]"},
    {R"({"input": [{"type": "message"}]})", "input[0].role"},
    {R"({"input": [{"role": 5}]})", "input[0].role"},
    {R"({"input": [{"role": "tool", "content": "x"}]})", "input[0].role"},
    {R"({"input": [{"role": "user", "content": 5}]})", "input[0].content"},
    {R"({"input": [{"role": "user", "content": {}}]})", "input[0].content"},
    {R"({"input": [{"role": "user", "content": ["x"]}]})", "input[0].content[0]"},
    {R"({"input": [{"role": "user", "content": [{}]}]})", "input[0].content[0].type"},
    {R"({"input": [{"role": "user", "content": [{"type": "input_text"}]}]})", "input[0].content[0].text"},
    {R"({"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]})", "input[0].content[0].text"},
    {R"({"input": [{"role": "assistant", "content": [{"type": "refusal"}]}]})", "input[0].content[0].refusal"},
    {R"({"input": [{"type": "function_call", "name": "ls"}]})", "input[0].call_id"},
    {R"({"input": [{"type": "function_call", "call_id": ""}]})", "input[0].call_id"},
    {R"({"input": [{"type": "function_call", "call_id": "c"}]})", "input[0].name"},
    {R"({"input": [{"type": "function_call", "call_id": "c", "name": "ls", "arguments": {}}]})", "input[0].arguments"},
    {R"({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "ls", "input": 5}]})", "input[0].input"},
    {R"({"input": [{"type": "function_call_output", "output": "x"}]})", "input[0].call_id"},
    {R"({"input": [{"type": "function_call_output", "call_id": "c", "output": 5}]})", "input[0].output"},
    {R"({"input": [{"type": "reasoning", "summary": "x"}]})", "input[0].summary"},
    {R"({"input": [{"type": "reasoning", "summary": [{}]}]})", "input[0].summary[0].text"},
    {R"({"input": [{"type": "reasoning", "content": [5]}]})", "input[0].content[0]"},
    {R"({"input": [{"type": "reasoning", "encrypted_content": 5}]})", "input[0].encrypted_content"},
    {R"({"instructions": 5})", "instructions"},
    {R"({"instructions": ["x"]})", "instructions"},
    {R"({"model": 5})", "model"},
    {R"({"previous_response_id": "resp_1"})", "previous_response_id"},
    {R"({"conversation": "conv_1"})", "conversation"},
    {R"({"prompt": {"id": "p"}})", "prompt"},
    {R"({"background": true})", "background"},
    {R"({"background": "no"})", "background"},
    {R"({"stream": "yes"})", "stream"},
    {R"({"store": 1})", "store"},
    {R"({"parallel_tool_calls": "no"})", "parallel_tool_calls"},
    {R"({"max_output_tokens": 0})", "max_output_tokens"},
    {R"({"max_output_tokens": -2})", "max_output_tokens"},
    {R"({"max_output_tokens": 1.5})", "max_output_tokens"},
    {R"({"messages": [{"role": "user", "content": "Hello"}]})", "input"},
    {R"({"input": [{"type": "compaction", "encrypted_content": "x"}]})", "input[0]"},
    {R"({"input": [{"type": "item_reference"}]})", "input[0].id"},
    {R"({"max_output_tokens": 1e308})", "max_output_tokens"},
    {R"({"max_output_tokens": 9223372036854775808})", "max_output_tokens"},
    {R"({"temperature": 3})", "temperature"},
    {R"({"temperature": "1"})", "temperature"},
    {R"({"top_p": -1})", "top_p"},
    {R"({"top_logprobs": 21})", "top_logprobs"},
    {R"({"top_logprobs": -1})", "top_logprobs"},
    {R"({"include": "all"})", "include"},
    {R"({"include": [5]})", "include[0]"},
    {R"({"metadata": []})", "metadata"},
    {R"({"user": 5})", "user"},
    {R"({"prompt_cache_key": 5})", "prompt_cache_key"},
    {R"({"reasoning": "high"})", "reasoning"},
    {R"({"reasoning": {"effort": "enormous"}})", "reasoning.effort"},
    {R"({"reasoning": {"effort": 500}})", "reasoning.effort"},
    {R"({"reasoning": {"summary": true}})", "reasoning.summary"},
    {R"({"text": "json"})", "text"},
    {R"({"text": {"format": "json"}})", "text.format"},
    {R"({"text": {"format": {}}})", "text.format.type"},
    {R"({"text": {"format": {"type": "xml"}}})", "text.format.type"},
    {R"({"text": {"format": {"type": "json_schema", "name": "n"}}})", "text.format.schema"},
    {R"({"text": {"verbosity": 5}})", "text.verbosity"},
    {R"({"tools": {}})", "tools"},
    {R"({"tools": ["ls"]})", "tools[0]"},
    {R"({"tools": [{"name": "ls"}]})", "tools[0].type"},
    {R"({"tools": [{"type": "function"}]})", "tools[0].name"},
    {R"({"tools": [{"type": "function", "name": ""}]})", "tools[0].name"},
    {R"({"tools": [{"type": "function", "name": "ls", "description": 5}]})", "tools[0].description"},
    {R"({"tools": [{"type": "function", "name": "ls", "parameters": []}]})", "tools[0].parameters"},
    {R"({"tools": [{"type": "function", "name": "ls", "strict": "yes"}]})", "tools[0].strict"},
    {R"({"tools": [{"type": "custom", "name": "c", "format": {"type": "xml"}}]})", "tools[0].format.type"},
    {R"({"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark"}}]})", "tools[0].format.definition"},
    {R"({"tools": [{"type": "namespace", "tools": []}]})", "tools[0].name"},
    {R"({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]})", "tools[0].tools[0].name"},
    {R"({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]})", "tools[0].tools[0].type"},
    {R"({"tools": [{"type": "local_shell"}]})", "tools[0].type"},
    {R"({"tools": [{"type": "shell"}]})", "tools[0].type"},
    {R"({"tools": [{"type": "apply_patch"}]})", "tools[0].type"},
    {R"({"tools": [{"type": "computer_use_preview"}]})", "tools[0].type"},
    {R"({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}})", "tool_choice.type"},
    {R"({"tools": [{"type": "web_search"}], "tool_choice": "required"})", "tool_choice"},
    {R"({"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}})", "tool_choice.tools[0].name"},
    {R"({"text": {"format": {"type": "json_object", "value": {}}}})", "text.format.value"},
    {R"({"tool_choice": 5})", "tool_choice"},
    {R"({"tool_choice": "some"})", "tool_choice"},
    {R"({"tool_choice": "required"})", "tool_choice"},
    {R"({"tool_choice": {}})", "tool_choice.type"},
    {R"({"tool_choice": {"type": "function"}})", "tool_choice.name"},
    {R"({"tool_choice": {"type": "function", "name": "ls"}})", "tool_choice.name"},
    {R"({"tool_choice": {"type": "allowed_tools"}})", "tool_choice.mode"},
};
// clang-format on

ordered_json refusal(const std::string& body) {
    FakeService service;
    const auto writer = ask(responses_routes(service), "POST", "/v1/responses", body);
    EXPECT_EQ(writer->status, 400) << body;
    EXPECT_TRUE(service.requests.empty());
    const ordered_json error = writer->json()["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    return error;
}

TEST(ResponsesBadRequests, NameTheField) {
    for (const Bad& bad : kBad) {
        ordered_json body = {{"model", "m"}, {"stream", true}, {"input", "Hello"}};
        body.update(ordered_json::parse(bad.members));
        const ordered_json error = refusal(body.dump());
        EXPECT_EQ(error["param"], bad.field) << body;
        EXPECT_TRUE(error["message"].get<std::string>().starts_with(fmt::format("{}: ", bad.field))) << error;
    }
}

TEST(ResponsesBadRequests, MustBeJsonObjects) {
    const std::string deep(100000, '[');
    for (const char* body :
         {"", "{", "[]", "5", "null", "{} {}", "\"\xff\"", "{\"input\": NaN}", deep.c_str()})
        EXPECT_TRUE(refusal(body)["param"].is_null());
}

}  // namespace
}  // namespace cachalot::server::responses_test
