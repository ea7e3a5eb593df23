// Requests of Anthropic's dialect: what they become.
#include <gmock/gmock.h>

#include "server/anthropic_test.h"

namespace cachalot::server::anthropic_test {
namespace {

using testing::ElementsAre;

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

}  // namespace
}  // namespace cachalot::server::anthropic_test
