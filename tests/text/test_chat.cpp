#include "text/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;

Conversation read(const std::string& json) { return conversation_from_json(ordered_json::parse(json)); }

std::string error_of(const std::string& json) {
    try {
        read(json);
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(Chat, TextIsTextUnderEveryName) {
    const auto part = [](const char* role, const char* json) {
        return read(std::string(R"({"messages": [{"role": ")") + role + R"(", "content": [)" + json +
                    R"(, {"type": "text", "text": "B"}]}]})")
            .messages.at(0);
    };
    for (const char* json : {R"({"type": "text", "text": "A"})", R"({"type": "input_text", "text": "A"})",
                             R"({"type": "output_text", "text": "A", "annotations": []})",
                             R"({"type": "refusal", "refusal": "A"})"})
        for (const char* role : {"system", "user", "assistant", "tool"})
            EXPECT_EQ(content_text(part(role, json).content), "A\n\nB") << json;
    for (const char* json :
         {R"({"type": "thinking", "thinking": "A", "signature": "s"})",
          R"({"type": "thinking", "thinking": [{"type": "text", "text": "A"}]})",
          R"({"type": "reasoning", "text": "A"})", R"({"type": "reasoning", "reasoning": "A"})"}) {
        EXPECT_EQ(part("assistant", json).reasoning, "A") << json;
        EXPECT_EQ(content_text(part("assistant", json).content), "B") << json;
        EXPECT_EQ(content_text(part("user", json).content), "A\n\nB") << json;
    }
    EXPECT_EQ(content_text(part("assistant", R"({"type": "redacted_thinking", "data": "x"})").content), "B");
    EXPECT_EQ(content_text(part("user", R"({"type": "image_url"})").content), "[Unsupported image_url]\n\nB");
    for (const char* json : {R"({"type": "input_text"})", R"({"type": "refusal", "text": "A"})",
                             R"({"type": "thinking", "thinking": 5})", R"({"type": "reasoning"})"})
        EXPECT_THROW(part("assistant", json), Error) << json;
}

TEST(Chat, ReadsReasoningAndCallsOfOtherServers) {
    const auto message = [](const char* members) {
        return read(std::string(R"({"messages": [{"role": "assistant", )") + members + "}]}").messages.at(0);
    };
    EXPECT_EQ(message(R"("reasoning_details": [{"type": "reasoning.summary", "summary": "A"},
                         {"type": "reasoning.text", "text": "B"}, {"type": "reasoning.encrypted", "data": "x"}])")
                  .reasoning,
              "AB");
    EXPECT_EQ(message(R"("reasoning": "R", "reasoning_details": [{"text": "R"}])").reasoning, "R");
    EXPECT_EQ(message(R"("reasoning": "R", "content": [{"type": "thinking", "thinking": "R"}])").reasoning,
              "R");
    EXPECT_EQ(content_text(message(R"("content": null, "refusal": "No.")").content), "No.");
    const auto call =
        message(R"("tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "n", "input": "a\"b"}}])")
            .tool_calls.at(0);
    EXPECT_EQ(call.name, "n");
    EXPECT_EQ(call.arguments, R"({"input": "a\"b"})");
    EXPECT_THROW(message(R"("function_call": {"name": "f", "arguments": "{}"})"), Error);
    EXPECT_EQ(error_of(R"({"messages": [], "tools": [{"function": {"name": "f", "parameters": []}}]})"),
              "tools[0].function.parameters: expected an object, found array, in the tool 'f'");
    EXPECT_EQ(error_of(R"({"messages": [], "tools": [{"function": {"name": "f", "description": 5}}]})"),
              "tools[0].function.description: expected a string, found number");
}

TEST(Chat, ReadsEveryField) {
    const Conversation conversation = read(R"({
        "model": "x", "tools": [{"type": "function", "function": {"name": "f", "z": 1, "a": 2}}],
        "messages": [
            {"role": "system", "content": "S", "response_format": {"type": "object"},
             "tools": [{"type": "web_search"}, {"function": {"name": "g"}}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}],
             "task": "read_url"},
            {"role": "assistant", "content": null, "reasoning_content": "R", "wo_eos": true, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                {"function": {"name": "g", "arguments": {"y": [1.0]}}}]},
            {"role": "tool", "tool_call_id": "1", "content": "T", "mask": 1},
            {"role": "latest_reminder"}, {"role": "developer", "reasoning": "Q"}]})");
    ASSERT_EQ(conversation.messages.size(), 6U);
    ASSERT_EQ(conversation.tools.size(), 1U);
    EXPECT_EQ(conversation.tools[0].dump(), R"({"name":"f","z":1,"a":2})");
    const Message& system = conversation.messages[0];
    EXPECT_EQ(system.role, Role::system);
    EXPECT_EQ(content_text(system.content), "S");
    ASSERT_EQ(system.tools.size(), 1U);
    EXPECT_EQ(system.tools[0]["name"], "g");
    EXPECT_EQ(system.response_format["type"], "object");
    const Message& user = conversation.messages[1];
    EXPECT_EQ(content_text(user.content), "a\n\n[Unsupported image_url]");
    EXPECT_EQ(user.task, QuickTask::read_url);
    const Message& assistant = conversation.messages[2];
    EXPECT_EQ(content_text(assistant.content), "");
    EXPECT_EQ(assistant.reasoning, "R");
    EXPECT_TRUE(assistant.without_eos);
    ASSERT_EQ(assistant.tool_calls.size(), 2U);
    EXPECT_EQ(assistant.tool_calls[0].id, "1");
    EXPECT_EQ(assistant.tool_calls[0].arguments, "{\"x\":1}");
    EXPECT_EQ(assistant.tool_calls[1].arguments, "{\"y\": [1.0]}");
    EXPECT_EQ(conversation.messages[3].tool_call_id, "1");
    EXPECT_EQ(conversation.messages[4].role, Role::latest_reminder);
    EXPECT_EQ(conversation.messages[5].reasoning, "Q");
}

TEST(Chat, ErrorsNameTheField) {
    EXPECT_EQ(error_of("\"x\""), "messages: expected an array, found string");
    EXPECT_EQ(error_of("{}"), "messages: missing, expected an array");
    EXPECT_EQ(error_of("[1]"), "messages[0]: expected an object, found number");
    EXPECT_EQ(error_of("[{}]"), "messages[0].role: missing, expected a string");
    EXPECT_EQ(error_of(R"([{"role": "user"}, {"role": "x"}])"), "messages[1].role: unknown role 'x'");
    EXPECT_EQ(error_of(R"([{"role": "a\nb"}])"), "messages[0].role: unknown role 'a\\nb'");
    EXPECT_EQ(error_of("[{\"role\": \"" + std::string(1000, 'x') + "\"}]"),
              "messages[0].role: unknown role of 1000 bytes");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": 1}])"),
              "messages[0].content: expected a string or an array of parts, found number");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": [{"type": "text"}]}])"),
              "messages[0].content[0].text: missing, expected a string");
    EXPECT_EQ(error_of(R"([{"role": "user", "content": ["x"]}])"),
              "messages[0].content[0]: expected an object, found string");
    EXPECT_EQ(error_of(R"([{"role": "assistant", "tool_calls": {}}])"),
              "messages[0].tool_calls: expected an array, found object");
    EXPECT_EQ(error_of(R"([{"role": "assistant", "tool_calls": [{"id": "1"}]}])"),
              "messages[0].tool_calls[0].function: missing, expected an object");
    EXPECT_EQ(
        error_of(R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": []}}]}])"),
        "messages[0].tool_calls[0].function.arguments: expected a string, found array");
    EXPECT_EQ(error_of(R"([{"role": "user", "task": "sing"}])"), "messages[0].task: unknown task 'sing'");
    EXPECT_EQ(error_of(R"([{"role": "assistant", "wo_eos": 1}])"),
              "messages[0].wo_eos: expected true or false, found number");
    EXPECT_EQ(error_of(R"({"messages": [], "tools": [{"type": "function", "function": {"name": ""}}]})"),
              "tools[0].function.name: must not be empty");
    EXPECT_EQ(error_of(R"([{"role": "user", "tools": [{"function": {"name": "f"}}]}])"),
              "messages[0].tools: only system and developer messages can carry tools");
}

TEST(Chat, WhatWouldBeLostIsRefused) {
    EXPECT_EQ(error_of(R"([{"role": "user", "text": "x"}])"),
              "messages[0].text: not supported: it belongs into content");
    EXPECT_EQ(error_of(R"([{"role": "user", "parts": ["x"]}])"),
              "messages[0].parts: not supported: it belongs into content");
    for (const char* media : {"images", "audio", "videos"}) {
        const auto message = [&](const char* value) {
            return fmt::format(R"([{{"role": "user", "content": "x", "{}": {}}}])", media, value);
        };
        EXPECT_EQ(error_of(message(R"(["a"])")),
                  fmt::format("messages[0].{}: not supported: the model reads text only", media));
        EXPECT_EQ(read(message("[]")).messages.size(), 1u);
        EXPECT_EQ(read(message("null")).messages.size(), 1u);
    }
    EXPECT_EQ(error_of(R"([{"role": "assistant", "content": "x", "prefix": false}])"),
              "messages[0].prefix: the last message is of the assistant, and is always continued");
    EXPECT_EQ(read(R"([{"role": "assistant", "content": "x", "prefix": true}])").messages.size(), 1u);
}

TEST(Chat, ToolsThatCannotBeCalledAreRefused) {
    const auto problem = [](const std::string& tool) {
        return error_of(R"({"messages": [], "tools": [)" + tool + "]}");
    };
    for (const char* type : {"computer_use", "custom", "namespace", "Function", ""})
        EXPECT_EQ(problem(fmt::format(R"({{"type": "{}"}})", type)),
                  fmt::format("tools[0].type: '{}' is not supported, expected function; "
                              "offer a function instead",
                              type));
    for (const std::string& name : {std::string("a b"), std::string("ä"), std::string(257, 'x')})
        EXPECT_THAT(problem(R"({"function": {"name": ")" + name + "\"}}"),
                    testing::StartsWith("tools[0].function.name: "))
            << name;
    for (const char* type : {"web_search", "mcp", "code_interpreter", "openrouter:x"})
        EXPECT_TRUE(
            read(fmt::format(R"({{"messages": [], "tools": [{{"type": "{}"}}]}})", type)).tools.empty());
}

}  // namespace
}  // namespace cachalot
