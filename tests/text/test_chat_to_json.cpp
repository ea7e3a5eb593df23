#include "text/chat_to_json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "text/chat_json.h"
#include "text/prompt.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;

Conversation read(const std::string& text) { return conversation_from_json(parse_json(text, "test")); }

Conversation again(const Conversation& conversation) {
    return read(conversation_to_json(conversation).dump());
}

constexpr const char* kToolTurns = R"({
  "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How warm is it in Oslo and Rome?"},
    {"role": "assistant", "content": null, "reasoning_content": "Two calls.", "tool_calls": [
      {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":  \"Oslo\"}"}},
      {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{broken"}}]},
    {"role": "tool", "tool_call_id": "b", "content": "30"},
    {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "4"}, {"type": "image_url"}]},
    {"role": "user", "content": "And in Bergen?", "task": "query"},
    {"role": "assistant", "content": "It is", "wo_eos": true}],
  "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]})";

TEST(ChatToJson, ToolTurnsComeBack) {
    const auto first = read(kToolTurns), second = again(first);
    EXPECT_EQ(second.tools, first.tools);
    ASSERT_EQ(second.messages.size(), 7u);
    const auto& calls = second.messages[2].tool_calls;
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[0].id, "a");
    EXPECT_EQ(calls[0].arguments, R"({"city":  "Oslo"})");
    EXPECT_EQ(calls[1].arguments, "{broken");
    EXPECT_EQ(second.messages[2].reasoning, "Two calls.");
    EXPECT_TRUE(second.messages[2].content.empty());
    EXPECT_EQ(second.messages[3].role, Role::tool);
    EXPECT_EQ(second.messages[3].tool_call_id, "b");
    EXPECT_EQ(second.messages[4].content.size(), 2u);
    EXPECT_EQ(second.messages[4].content[1].type, "image_url");
    EXPECT_EQ(second.messages[5].task, QuickTask::query);
    EXPECT_TRUE(second.messages[6].without_eos);
    EXPECT_EQ(encode_prompt(second).text(), encode_prompt(first).text());
}

TEST(ChatToJson, InstructionsCarryToolsAndAFormat) {
    const auto first = read(R"([{"role": "developer", "content": "x",
        "tools": [{"type": "function", "function": {"name": "f"}}], "response_format": {"type": "object"}},
        {"role": "latest_reminder", "content": "today"}, {"role": "user", "content": ""}])");
    const auto second = again(first);
    EXPECT_EQ(second.messages[0].tools, first.messages[0].tools);
    EXPECT_EQ(second.messages[0].response_format, first.messages[0].response_format);
    EXPECT_EQ(second.messages[1].role, Role::latest_reminder);
    EXPECT_TRUE(conversation_to_json(first).is_array());
}

// Any mixture of roles, reasoning, parts, calls and results reads the same again.
RC_GTEST_PROP(ChatToJson, AnyConversationComesBack, ()) {
    const auto text = rc::gen::element<std::string>("", "a", "two\nlines", "\"\\", "日本", "{\"x\": 1}");
    const auto name = rc::gen::element<std::string>("a", "two_words", "日本", "a.b-c");  // which prompts hold
    Conversation first;
    const int count = *rc::gen::inRange(0, 8);
    for (int i = 0; i < count; ++i) {
        Message m;
        m.role = *rc::gen::element(Role::system, Role::developer, Role::user, Role::assistant, Role::tool);
        for (int part = *rc::gen::inRange(0, 3); part > 0; --part) m.content.push_back({"text", *text});
        if (m.role == Role::assistant) {
            m.reasoning = *text;
            m.without_eos = *rc::gen::arbitrary<bool>();
            for (int call = *rc::gen::inRange(0, 3); call > 0; --call)
                m.tool_calls.push_back({*text, *name, *text});
        }
        if (m.role == Role::tool) m.tool_call_id = *text;
        first.messages.push_back(m);
    }
    if (*rc::gen::arbitrary<bool>()) first.tools = {{{"name", "f"}}};
    const auto second = again(first);
    RC_ASSERT(conversation_to_json(second) == conversation_to_json(first));
    RC_ASSERT(second.messages.size() == first.messages.size());
    for (std::size_t i = 0; i < first.messages.size(); ++i) {
        const auto &a = first.messages[i], &b = second.messages[i];
        RC_ASSERT(a.role == b.role && a.reasoning == b.reasoning && a.tool_call_id == b.tool_call_id);
        RC_ASSERT(a.without_eos == b.without_eos && a.content.size() == b.content.size());
        for (std::size_t j = 0; j < a.content.size(); ++j) RC_ASSERT(a.content[j].text == b.content[j].text);
        RC_ASSERT(a.tool_calls.size() == b.tool_calls.size());
        for (std::size_t j = 0; j < a.tool_calls.size(); ++j)
            RC_ASSERT(a.tool_calls[j].id == b.tool_calls[j].id &&
                      a.tool_calls[j].name == b.tool_calls[j].name &&
                      a.tool_calls[j].arguments == b.tool_calls[j].arguments);
    }
}

}  // namespace
}  // namespace cachalot
