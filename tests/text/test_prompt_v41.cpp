// What V4.1's prompts make of conversations, beside what DeepSeek's own cases show (test_encoding_v41.cpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/prompt.h"
#include "text/prompt_protocol.h"
#include "text/tool_namespace.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

Prompt encode(const std::string& json, ChatOptions options = {.thinking = false}) {
    options.format = ChatFormat::v41;
    return encode_prompt(conversation_from_json(ordered_json::parse(json), ChatFormat::v41), options);
}

std::string text_of(const std::string& json, const ChatOptions& options = {.thinking = false}) {
    const std::string text = encode(json, options).text();
    EXPECT_TRUE(text.starts_with(kBosText));
    return text.substr(kBosText.size());
}

std::string error_of(const std::string& json) {
    try {
        encode(json);
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

constexpr const char* kQuestion = R"([{"role": "user", "content": "Q"}])";

TEST(PromptV41, EveryEffortIsWrittenAsItsNumber) {
    for (int effort = kLeastEffort; effort <= kMostEffort; effort++)
        EXPECT_EQ(text_of(kQuestion, {.thinking = true, .effort = static_cast<Effort>(effort)}),
                  "<｜System｜>Reasoning Effort: " + std::to_string(effort) +
                      " (range 1-100, the higher the value, the more thorough the reasoning)\n\n"
                      "<｜User｜>Q<｜Assistant｜><think>");
    EXPECT_EQ(text_of(kQuestion, {.thinking = true}),
              text_of(kQuestion, {.thinking = true, .effort = Effort::high}));
    EXPECT_EQ(text_of(kQuestion, {.thinking = false, .effort = Effort::max}),
              "<｜User｜>Q<｜Assistant｜></think>");
}

TEST(PromptV41, NumbersStandForTheHighestNameThatTheyReachInV4) {
    const auto v4 = [](int effort, ChatFormat format) {
        return effort_text(static_cast<Effort>(effort), format);
    };
    for (int effort = kLeastEffort; effort <= kMostEffort; effort++) {
        EXPECT_EQ(v4(effort, ChatFormat::v4), effort == 100  ? kExhaustiveEffort
                                              : effort >= 75 ? kThoroughEffort
                                                             : "");
        EXPECT_EQ(v4(effort, ChatFormat::v4_april), effort == 100 ? kThoroughEffort : "");
    }
}

TEST(PromptV41, WordsOfClients) {
    const auto meaning = [](const char* word) { return effort_of_client(word, ChatFormat::v41); };
    for (const char* low : {"minimal", "low"}) EXPECT_EQ(meaning(low), Effort::low) << low;
    for (const char* high : {"medium", "high", "xhigh"}) EXPECT_EQ(meaning(high), Effort::high) << high;
    for (const char* max : {"max", "ultra"}) EXPECT_EQ(meaning(max), Effort::max) << max;
    for (const char* none : {"none", "", "37", "High"}) EXPECT_EQ(meaning(none), std::nullopt) << none;
    for (const char* low : {"minimal", "low", "medium"})
        EXPECT_EQ(effort_of_client(low, ChatFormat::v4), Effort::low) << low;
    for (const char* max : {"xhigh", "max", "ultra"})
        EXPECT_EQ(effort_of_client(max, ChatFormat::v4), Effort::max) << max;
}

TEST(PromptV41, DevelopersAreUsers) {
    EXPECT_EQ(text_of(R"([{"role": "system", "content": "S"}, {"role": "developer", "content": "D"},
                          {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"},
                          {"role": "developer", "content": "E"}])"),
              "<｜System｜>S<｜User｜>D\n\nQ<｜Assistant｜></"
              "think>A<｜end▁of▁sentence｜><｜User｜>E<｜Assistant｜></think>");
    EXPECT_THAT(
        error_of(R"([{"role": "developer", "content": "D", "tools": [{"function": {"name": "f"}}]}])"),
        HasSubstr("messages[0].tools: only system messages"));
    EXPECT_THAT(error_of(R"([{"role": "developer", "content": "D", "response_format": {"type": "x"}}])"),
                HasSubstr("messages[0].response_format: only system messages"));
}

TEST(PromptV41, ToolsOfTheConversationStandAtItsBeginning) {
    const std::string tools = R"({"tools": [{"function": {"name": "f"}}], "messages": )";
    for (const char* messages :
         {R"([{"role": "user", "content": "Q"}])",
          R"([{"role": "user", "content": "Q"}, {"role": "system", "content": "late"}])"})
        EXPECT_TRUE(text_of(tools + messages + "}").starts_with("<｜System｜>\n\n## Tools\n\n")) << messages;
    EXPECT_TRUE(text_of(tools + R"([{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]})")
                    .starts_with("<｜System｜>S\n\n## Tools\n\n"));
    const std::string thinking = text_of(tools + kQuestion + "}", {.thinking = true});
    EXPECT_THAT(thinking, HasSubstr("reasoning)\n\n\n\n## Tools"));
    EXPECT_THAT(thinking, HasSubstr("invoke tool calls.\n<｜User｜>Q<｜Assistant｜><think>"));
}

TEST(PromptV41, TheTextOfToolsDiffersFromV4sInItsTagsOnly) {
    std::string v4 = protocol_of(ChatFormat::v4).tools_start;
    for (const char* name : {"tool_calls", "invoke", "parameter"})
        for (std::size_t at = 0; (at = v4.find("｜DSML｜" + std::string(name), at)) != std::string::npos;
             at++)
            v4.insert(at + std::string("｜DSML｜").size(), " ");
    for (std::size_t at = 0; (at = v4.find(" tool_calls>", at)) != std::string::npos;) v4.erase(at + 1, 5);
    EXPECT_EQ(v4, protocol_of(ChatFormat::v41).tools_start);
    EXPECT_NE(v4, protocol_of(ChatFormat::v4).tools_start);
}

TEST(PromptV41, ArgumentsThatAreNoObjectAreOneText) {
    const auto call = [](const std::string& arguments) {
        const ordered_json messages = {
            {{"role", "user"}},
            {{"role", "assistant"},
             {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", arguments}}}}}}}};
        const std::string text = text_of(messages.dump());
        const std::string start = "<｜DSML｜ invoke name=\"f\">\n", end = "\n</｜DSML｜ invoke>";
        const std::size_t from = text.find(start) + start.size();
        return text.substr(from, text.find(end) - from);
    };
    for (const std::string other : {"ls -l", "[1]", "5", "null", "{\"cut", "\"text\"", "\"[1]\"", " "})
        EXPECT_EQ(call(other), "<｜DSML｜ parameter name=\"arguments\" string=\"true\">" + other +
                                   "</｜DSML｜ parameter>");
    EXPECT_EQ(call(std::string(400, '[')).size(), call("").size() + 400 + call("x").size() - 1);
    for (const char* none : {"", "{}", "\"{}\""}) EXPECT_EQ(call(none), "") << none;
    const std::string one = call(R"({"k": 1})");
    EXPECT_EQ(one, "<｜DSML｜ parameter name=\"k\" string=\"false\">1</｜DSML｜ parameter>");
    EXPECT_EQ(call(R"("{\"k\": 1}")"), one);
    EXPECT_EQ(call(R"({"k": 2, "k": 1})"), one);
}

// What is known is not written, and decides how the rest is.
TEST(PromptV41, KnownMessagesAndTheRestMakeTheWhole) {
    const ordered_json messages = ordered_json::parse(R"([
        {"role": "system", "content": "S"}, {"role": "user", "content": "1"},
        {"role": "assistant", "content": "a"}, {"role": "system", "content": "late"},
        {"role": "user", "content": "2"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "3"}])");
    for (const bool thinking : {false, true}) {
        ChatOptions options{.thinking = thinking, .drop_thinking = false};
        const std::string whole = encode(messages.dump(), options).text();
        for (const std::size_t known : {3, 6}) {  // after answers, where nothing is between
            ordered_json first(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(known));
            options.known_messages = known;
            const std::string rest = encode(messages.dump(), options).text();
            options.known_messages = 0;
            EXPECT_EQ(encode(first.dump(), options).text() + rest, whole) << known;
        }
    }
    ChatOptions all{.known_messages = messages.size()};
    EXPECT_THROW(encode(messages.dump(), all), Error);
}

TEST(PromptV41, MarksAreWhereTheNextPromptMayDiffer) {
    const Prompt prompt = encode(R"([{"role": "user", "content": "1"}, {"role": "assistant", "content": "a"},
                                     {"role": "system", "content": "late"}])");
    EXPECT_TRUE(prompt.parts.at(prompt.last_user_turn).text.starts_with("<｜System｜>"));
    EXPECT_TRUE(prompt.parts.at(prompt.last_answer_header).text.starts_with("<｜Assistant｜>"));
    EXPECT_EQ(prompt.continuation, Continuation::content);
}

TEST(PromptV41, ImagesHavePlacesAndRecords) {
    const Prompt prompt = encode(R"([{"role": "user", "content": [
        {"type": "image", "data": "AA=="}, {"type": "text", "text": "T"}, {"type": "image_url", "image_url": "u"}]}])");
    EXPECT_EQ(prompt.text().substr(kBosText.size()),
              "<｜User｜><｜deepseek_image｜>\n\nT\n\n<｜deepseek_image｜><｜Assistant｜></think>");
    EXPECT_EQ(ordered_json(prompt.images),
              ordered_json::parse(R"([{"type": "image", "data": "AA=="}, {"type": "image", "url": "u"}])"));
    EXPECT_THAT(error_of(R"([{"role": "user", "content": [{"type": "image"}]}])"),
                HasSubstr("messages[0].content[0]: an image needs"));
}

TEST(ToolNamespace, NamesAreJoinedAndSplit) {
    EXPECT_EQ(qualified_name("f", ""), "f");
    EXPECT_EQ(qualified_name("f", "ns"), "ns::f");
    EXPECT_EQ(qualified_name("ns::f", "ns"), "ns::f");
    EXPECT_EQ(split_name("ns::f").name_space, "ns");
    EXPECT_EQ(split_name("ns::f").name, "f");
    for (const char* whole : {"f", "a:b", "::f", "ns::", "a::b::c", ""}) {
        EXPECT_EQ(split_name(whole).name, whole);
        EXPECT_EQ(split_name(whole).name_space, "");
    }
    EXPECT_EQ(problem_of_namespace("f", "ns"), "");
    EXPECT_EQ(problem_of_namespace("ns::f", "ns"), "");
    EXPECT_EQ(problem_of_namespace("ns::f", ""), "");
    for (const auto& [name, group] : {std::pair("a::f", "b"), {"a::b::c", ""}, {"f", "a::b"}, {"::f", ""}})
        EXPECT_NE(problem_of_namespace(name, group), "") << name << group;
}

// V4 was trained on none, and gets what it got before.
TEST(ToolNamespace, IsNothingToV4) {
    const auto json = ordered_json::parse(
        R"([{"role": "system", "tools": [{"function": {"name": "f"}, "namespace": "n"}]},
            {"role": "user", "content": "Q"}])");
    EXPECT_EQ(conversation_from_json(json).messages[0].tools[0]["name"], "f");
    EXPECT_EQ(conversation_from_json(json, ChatFormat::v41).messages[0].tools[0]["name"], "n::f");
}

}  // namespace
}  // namespace cachalot
