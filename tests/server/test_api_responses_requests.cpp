// Requests of the Responses dialect: what they become.
#include <gmock/gmock.h>

#include "server/responses_test.h"

namespace cachalot::server::responses_test {
namespace {

using testing::ElementsAre;

TEST(ResponsesRequest, ReadsAString) {
    const ResponsesRequest r = read(R"({"model": "gpt-x", "input": "Hello", "instructions": "Be brief.",
        "max_output_tokens": 1, "temperature": 0.5, "top_p": 0.25, "stream": true, "store": false,
        "parallel_tool_calls": false, "prompt_cache_key": "k", "metadata": {"a": "b"}, "user": "u",
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "unknown": [1]})");
    const std::vector<Message>& m = r.request.conversation.messages;
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].role, Role::system);
    EXPECT_EQ(content_text(m[0].content), "Be brief.");
    EXPECT_EQ(m[1].role, Role::user);
    EXPECT_EQ(content_text(m[1].content), "Hello");
    EXPECT_TRUE(r.stream);
    EXPECT_EQ(r.request.generation.max_tokens, 1);
    EXPECT_TRUE(r.request.max_tokens_given);
    EXPECT_FALSE(r.request.parallel_tool_calls);
    EXPECT_EQ(r.request.form.kind, AnswerForm::Kind::json_object);
    EXPECT_EQ(r.request.generation.top_logprobs, -1);
    EXPECT_EQ(r.repeated["model"], "gpt-x");
    EXPECT_EQ(r.repeated["temperature"], 0.5);
    EXPECT_EQ(r.repeated["metadata"]["a"], "b");
    EXPECT_EQ(r.repeated["text"].dump(), R"({"format":{"type":"json_object"},"verbosity":"low"})");
}

TEST(ResponsesRequest, ReadsTheProbeOfNothing) {
    for (const char* body : {R"({"max_output_tokens": 1})", R"({"input": []})", R"({"input": ""})"}) {
        const std::vector<Message> m = read(body).request.conversation.messages;
        ASSERT_EQ(m.size(), 1u);
        EXPECT_EQ(m[0].role, Role::user);
    }
}

TEST(ResponsesRequest, PutsTheItemsOfATurnTogether) {
    const std::vector<Message> m = messages(R"([
        {"role": "developer", "content": "Rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"},
                                                        {"type": "input_image", "image_url": "data:"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "ls", "arguments": "{\"a\":1}"},
        {"type": "function_call", "call_id": "call_2", "name": "pwd", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "x"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "y"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A"},
                                          {"type": "summary_text", "text": "B"}]},
        {"type": "message", "role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks"}])");
    ASSERT_EQ(m.size(), 7u);
    EXPECT_EQ(m[0].role, Role::developer);
    EXPECT_EQ(content_text(m[1].content), "Look\n\n[Unsupported image]");
    EXPECT_EQ(m[2].role, Role::assistant);
    EXPECT_EQ(m[2].reasoning, "Hm.");
    EXPECT_EQ(content_text(m[2].content), "Looking.");
    ASSERT_EQ(m[2].tool_calls.size(), 2u);
    EXPECT_EQ(m[2].tool_calls[0].id, "call_1");
    EXPECT_EQ(m[2].tool_calls[0].arguments, "{\"a\":1}");
    EXPECT_EQ(m[3].role, Role::tool);
    EXPECT_EQ(m[3].tool_call_id, "call_1");
    EXPECT_EQ(content_text(m[4].content), "y");
    EXPECT_EQ(m[5].reasoning, "A\n\nB");
    EXPECT_EQ(content_text(m[5].content), "Done.");
    EXPECT_EQ(m[6].role, Role::user);
}

TEST(ResponsesRequest, ReasoningAfterAnAnswerBeginsTheNextTurn) {
    const std::vector<Message> m = messages(R"([
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "1"}]},
        {"type": "function_call", "call_id": "a", "name": "ls", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2"}]},
        {"type": "function_call", "call_id": "b", "name": "ls", "arguments": "{}"}])");
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[1].reasoning, "2");
    EXPECT_EQ(m[1].tool_calls[0].id, "b");
}

TEST(ResponsesRequest, ReadsReasoningFromWhereverTheClientKeptIt) {
    const auto reasoning = [](const char* fields) {
        ordered_json item = {{"type", "reasoning"}};
        item.update(ordered_json::parse(fields));
        return messages(ordered_json::array({item}).dump().c_str())[0].reasoning;
    };
    EXPECT_EQ(reasoning(R"({"encrypted_content": "cachalot:all\nof it", "summary": []})"), "all\nof it");
    EXPECT_EQ(reasoning(R"({"encrypted_content": "gAAAAB of another service", "summary": []})"), "");
    EXPECT_EQ(reasoning(R"({"encrypted_content": null, "content": null, "summary": null})"), "");
}

TEST(ResponsesRequest, KeepsCallsOfCustomTools) {
    const std::vector<Message> m = messages(R"([
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "a \"b\""},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}])");
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].tool_calls[0].arguments, R"({"input": "a \"b\""})");
    EXPECT_EQ(m[1].tool_call_id, "c");
}

TEST(ResponsesRequest, LeavesOutToolsOfProviders) {
    const ResponsesRequest r = read(R"({"input": "x", "tools": [
        {"type": "namespace", "name": "n", "tools": []}, {"type": "web_search"}, {"type": "image_generation"},
        {"type": "shell", "environment": {"type": "container_auto"}}, {"type": "tool_search"},
        {"type": "function", "name": "ls", "description": "lists", "strict": true, "parameters": {"type": "object"}},
        {"type": "function", "name": "pwd", "parameters": null}]})");
    ASSERT_EQ(r.request.conversation.tools.size(), 2u);
    EXPECT_EQ(r.request.conversation.tools[0].dump(),
              R"({"name":"ls","description":"lists","parameters":{"type":"object"}})");
    EXPECT_EQ(r.request.conversation.tools[1].dump(),
              R"({"name":"pwd","parameters":{"type":"object","properties":{}}})");
    EXPECT_EQ(r.repeated["tools"].size(), 3u);
    EXPECT_EQ(r.repeated["tools"][1]["type"], "function");
}

TEST(ResponsesRequest, ReadsToolChoice) {
    const auto choice = [](const char* json) {
        ordered_json body = ordered_json::parse(
            R"({"input": "x", "tools": [{"type": "function", "name": "ls"}, {"type": "web_search"}]})");
        body["tool_choice"] = ordered_json::parse(json);
        return read_responses_request(body, FakeService().info()).request;
    };
    EXPECT_EQ(choice(R"("auto")").tool_choice, ToolChoice::automatic);
    EXPECT_EQ(choice(R"("none")").tool_choice, ToolChoice::none);
    EXPECT_EQ(choice(R"("required")").tool_choice, ToolChoice::required);
    EXPECT_EQ(choice(R"({"type": "function", "name": "ls"})").tool_choice, ToolChoice::named);
    EXPECT_EQ(choice(R"({"type": "function", "name": "ls"})").named_tool, "ls");
    EXPECT_THROW(choice(R"({"type": "web_search"})"), ApiError);
    EXPECT_EQ(choice(R"({"type": "allowed_tools", "mode": "required"})").tool_choice, ToolChoice::required);
}

TEST(ResponsesRequest, ReadsReasoningOptions) {
    const ResponsesRequest r = read(R"({"input": "x", "reasoning": {"effort": "high", "summary": "auto"},
                 "include": ["reasoning.encrypted_content"]})");
    EXPECT_EQ(r.request.chat.effort, Effort::high);
    EXPECT_TRUE(r.request.chat.thinking);
    EXPECT_TRUE(r.reasoning_summary);
    EXPECT_TRUE(r.encrypted_reasoning);
    EXPECT_FALSE(read(R"({"input": "x", "reasoning": {"effort": "none"}})").request.chat.thinking);
    EXPECT_FALSE(read(R"({"input": "x", "reasoning": {"effort": null, "summary": null}})").reasoning_summary);
    EXPECT_EQ(read(R"({"input": "x", "top_logprobs": 3})").request.generation.top_logprobs, 3);
    EXPECT_EQ(read(R"({"input": "x", "include": ["message.output_text.logprobs"]})")
                  .request.generation.top_logprobs,
              0);
}

}  // namespace
}  // namespace cachalot::server::responses_test
