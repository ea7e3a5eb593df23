// DeepSeek's own encoding cases (tests/data/encoding): prompts to the byte, and the answers in them parsed
// back.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "text/chat_json.h"
#include "text/completion_parser.h"
#include "text/prompt.h"
#include "text/prompt_protocol.h"

namespace cachalot {
namespace {

std::string read_file(const std::string& name) {
    std::ifstream file(std::string(CACHALOT_TEST_DATA "/encoding/") + name, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    EXPECT_TRUE(file.good()) << name;
    return text.str();
}

class PromptFixture : public testing::TestWithParam<int> {
  protected:
    bool thinking() const { return GetParam() != 4; }
    Conversation conversation() const {
        return conversation_from_json(
            parse_json(read_file(fmt::format("test_input_{}.json", GetParam())), "fixture"));
    }
    Prompt prompt() const { return encode_prompt(conversation(), {.thinking = thinking()}); }
};

TEST_P(PromptFixture, IsExactToTheByte) {
    EXPECT_EQ(prompt().text(), read_file(fmt::format("test_output_{}.txt", GetParam())));
}

// Nothing that came with the conversation can become a special token.
TEST_P(PromptFixture, OnlyTheTemplateIsParsed) {
    for (const TextPart& part : prompt().parts) {
        if (part.mode != SpecialTokens::parse) continue;
        for (const char* foreign : {"Beijing", "get_weather", "helpful", "小柴胡", "温泉", "helpful", "22"})
            EXPECT_EQ(part.text.find(foreign), std::string::npos) << part.text;
    }
}

TEST_P(PromptFixture, AnswersParseBack) {
    const std::string text = prompt().text();
    std::vector<Message> answers;
    for (const Message& message : conversation().messages)
        if (message.role == Role::assistant) answers.push_back(message);
    std::size_t at = 0;
    for (const Message& answer : answers) {
        at = text.find(kAssistantToken, at) + kAssistantToken.size();
        const bool reasons = text.compare(at, kThinkStart.size(), kThinkStart) == 0;
        at += reasons ? kThinkStart.size() : kThinkEnd.size();
        constexpr std::string_view kAction = "<｜action｜>";
        if (text.compare(at, kAction.size(), kAction) == 0) at += kAction.size();
        const std::size_t end = text.find(kEosText, at) + kEosText.size();

        const Completion parsed = parse_completion(text.substr(at, end - at), reasons);
        EXPECT_TRUE(parsed.well_formed());
        EXPECT_EQ(parsed.reasoning, reasons ? answer.reasoning : "");
        EXPECT_EQ(parsed.content, content_text(answer.content));
        ASSERT_EQ(parsed.tool_calls.size(), answer.tool_calls.size());
        for (std::size_t i = 0; i < parsed.tool_calls.size(); i++) {
            EXPECT_EQ(parsed.tool_calls[i].name, answer.tool_calls[i].name);
            EXPECT_EQ(parsed.tool_calls[i].arguments, answer.tool_calls[i].arguments);
        }
        at = end;
    }
}

INSTANTIATE_TEST_SUITE_P(Official, PromptFixture, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace cachalot
