// Calls in the forms of their clients: how they come back.
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/tools_test.h"

namespace cachalot::server::tools_test {
namespace {

const std::vector<Event> kCall = {call_start(0, "call_1", "apply_patch"),
                                  call_arguments(0, R"({"input": "a\n)"),
                                  call_arguments(0, R"(\"b\""})"),
                                  call_end(0),
                                  finished("tool_calls"),
                                  done()};

TEST(ApiTools, ChatAnswersWithCustomCalls) {
    FakeService service;
    service.events = kCall;
    ordered_json body = ordered_json::parse(R"({"messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "custom", "custom": {"name": "apply_patch"}}]})");
    const auto routes = openai_routes(service);
    const auto whole = ask(routes, "POST", "/v1/chat/completions", body.dump())->json();
    EXPECT_EQ(whole["choices"][0]["message"]["tool_calls"],
              ordered_json::parse(R"([{"id": "call_1", "type": "custom",
                                       "custom": {"name": "apply_patch", "input": "a\n\"b\""}}])"));
    body["stream"] = true;
    const auto stream = ask(routes, "POST", "/v1/chat/completions", body.dump())->body;
    EXPECT_NE(stream.find(R"("type":"custom","custom":{"name":"apply_patch","input":""}})"),
              std::string::npos)
        << stream;
    EXPECT_NE(stream.find(R"({"index":0,"custom":{"input":"a\n"}})"), std::string::npos) << stream;
    EXPECT_NE(stream.find(R"({"index":0,"custom":{"input":"\"b\""}})"), std::string::npos) << stream;

    // Sent back it is the call that the model made.
    const auto again =
        chat(R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [
        {"id": "call_1", "type": "custom", "custom": {"name": "apply_patch", "input": "a\n\"b\""}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]})");
    EXPECT_EQ(again.request.conversation.messages[1].tool_calls[0].arguments, R"({"input": "a\n\"b\""})");
}

TEST(ApiTools, ResponsesAnswerWithCustomCalls) {
    FakeService service;
    service.events = kCall;
    ordered_json body = {{"input", "x"}, {"tools", {{{"type", "custom"}, {"name", "apply_patch"}}}}};
    const auto routes = responses_routes(service);
    const auto whole = ask(routes, "POST", "/v1/responses", body.dump())->json();
    auto item = whole["output"][0];
    EXPECT_TRUE(item["id"].get<std::string>().starts_with("ctc_"));
    item.erase("id");
    EXPECT_EQ(item,
              ordered_json::parse(R"({"type": "custom_tool_call", "status": "completed", "call_id": "call_1",
                                            "name": "apply_patch", "input": "a\n\"b\""})"));
    body["stream"] = true;
    std::string input;
    std::vector<std::string> kinds;
    for (const auto& event : read_sse(ask(routes, "POST", "/v1/responses", body.dump())->body)) {
        kinds.push_back(event.name);
        if (event.name == "response.custom_tool_call_input.delta") input += event.data["delta"];
        if (event.name == "response.custom_tool_call_input.done") {
            EXPECT_EQ(event.data["input"], input);
        }
    }
    EXPECT_EQ(input, "a\n\"b\"");
    EXPECT_EQ(kinds, (std::vector<std::string>{
                         "response.created", "response.in_progress", "response.output_item.added",
                         "response.custom_tool_call_input.delta", "response.custom_tool_call_input.delta",
                         "response.custom_tool_call_input.done", "response.output_item.done",
                         "response.completed"}));
}

TEST(ApiTools, CallsOfANamespaceHaveNameAndNamespaceApart) {
    FakeService service;
    service.events = {call_start(0, "call_1", "mcp__notes__lookup"),
                      call_arguments(0, "{}"),
                      call_end(0),
                      call_start(1, "call_2", "lookup"),
                      call_arguments(1, "{}"),
                      call_end(1),
                      finished("tool_calls"),
                      done()};
    const std::string tools = R"("tools": [{"type": "function", "name": "lookup"},
        {"type": "namespace", "name": "mcp__notes", "tools": [{"type": "function", "name": "lookup"}]}])";
    const auto output =
        ask(responses_routes(service), "POST", "/v1/responses", R"({"input": "x", )" + tools + "}")
            ->json()["output"];
    EXPECT_EQ(output[0]["name"], "lookup");
    EXPECT_EQ(output[0]["namespace"], "mcp__notes");
    EXPECT_EQ(output[1]["name"], "lookup");
    EXPECT_FALSE(output[1].contains("namespace"));

    const auto again = responses(R"({"input": [{"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "1", "namespace": "mcp__notes", "name": "lookup", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "lookup", "arguments": "{}"},
        {"type": "function_call", "call_id": "3", "namespace": "gone", "name": "f", "arguments": "{}"}], )" +
                                 tools + "}");
    const auto& calls = again.conversation.messages.at(1).tool_calls;
    EXPECT_EQ(calls.at(0).name, "mcp__notes__lookup");
    EXPECT_EQ(calls.at(1).name, "lookup");
    EXPECT_EQ(calls.at(2).name, "gone__f");
}

TEST(ApiTools, HistoriesWithToolsOfOtherFormsAreRead) {
    const auto request = responses(R"({"input": [{"role": "user", "content": "x"},
        {"type": "local_shell_call", "call_id": "1", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "1", "output": "a.txt"},
        {"type": "shell_call", "call_id": "2", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "2", "output": [{"stdout": "b.txt"}]}]})");
    const auto& messages = request.conversation.messages;
    ASSERT_EQ(messages.size(), 5u);
    EXPECT_EQ(messages[1].tool_calls[0].name, "local_shell");
    EXPECT_EQ(messages[1].tool_calls[0].arguments, R"({"type": "exec", "command": ["ls"]})");
    EXPECT_EQ(content_text(messages[2].content), "a.txt");
    EXPECT_EQ(content_text(messages[4].content), R"([{"stdout": "b.txt"}])");
}

}  // namespace
}  // namespace cachalot::server::tools_test
