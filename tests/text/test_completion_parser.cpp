#include "text/completion_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cachalot {
namespace {

using enum Repair;
using Kind = CompletionEvent::Kind;

const std::string kCalls = "\n\n<｜DSML｜tool_calls>\n";
const std::string kCallsEnd = "\n</｜DSML｜tool_calls>";
const std::string kEos = "<｜end▁of▁sentence｜>";

std::string invoke(const std::string& name, const std::string& parameters) {
    return "<｜DSML｜invoke name=\"" + name + "\">\n" + parameters + "\n</｜DSML｜invoke>";
}
std::string parameter(const std::string& name, const std::string& value, const std::string& string = "true") {
    return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + string + "\">" + value +
           "</｜DSML｜parameter>";
}

struct Expected {
    std::string reasoning = {};
    std::string content = {};
    std::vector<std::pair<std::string, std::string>> calls = {};  // name, arguments
    std::set<Repair> repairs = {};
};

void expect(const std::string& text, const Expected& expected, bool in_reasoning = false) {
    const Completion result = parse_completion(text, in_reasoning);
    EXPECT_EQ(result.reasoning, expected.reasoning) << text;
    EXPECT_EQ(result.content, expected.content) << text;
    std::vector<std::pair<std::string, std::string>> calls;
    for (const ParsedToolCall& call : result.tool_calls) calls.emplace_back(call.name, call.arguments);
    EXPECT_EQ(calls, expected.calls) << text;
    std::string repairs;
    for (const Repair repair : result.repairs) repairs += std::string(to_string(repair)) + "; ";
    EXPECT_EQ(result.repairs, expected.repairs) << text << "\n" << repairs;
}

TEST(CompletionParser, WellFormed) {
    expect("", {});
    expect("answer\n\n" + kEos, {.content = "answer\n\n"});
    expect("why</think>answer", {.reasoning = "why", .content = "answer"}, true);
    expect("</think>\n answer", {.content = "\n answer"}, true);
    expect(
        "why\n</think>answer\n" + kCalls + invoke("f", parameter("a", "x\n\"y\"\x1f")) + "\n" +
            invoke("g", parameter("n", "1.50", "false") + "\n" + parameter("o", " {\"k\": [1]} ", "false")) +
            "\n" + invoke("h", "") + kCallsEnd + kEos,
        {.reasoning = "why\n",
         .content = "answer\n",
         .calls = {{"f", R"({"a": "x\n\"y\"\u001f"})"},
                   {"g", R"({"n": 1.50, "o": {"k": [1]}})"},
                   {"h", "{}"}}},
        true);
}

TEST(CompletionParser, Events) {
    CompletionParser parser(true);
    std::vector<CompletionEvent> events = parser.feed("why</think>ans");
    const auto more = parser.feed("wer" + kCalls + invoke("f", parameter("a", "x")) + invoke("g", ""));
    events.insert(events.end(), more.begin(), more.end());
    std::vector<std::tuple<Kind, std::string, std::size_t>> seen;
    for (const CompletionEvent& event : events) seen.emplace_back(event.kind, event.text, event.call);
    EXPECT_THAT(seen, testing::ElementsAre(
                          std::tuple(Kind::reasoning, "why", 0), std::tuple(Kind::content, "ans", 0),
                          std::tuple(Kind::content, "wer", 0), std::tuple(Kind::call_start, "f", 0),
                          std::tuple(Kind::call_arguments, "{\"a\": \"x\"}", 0),
                          std::tuple(Kind::call_end, "", 0), std::tuple(Kind::call_start, "g", 1),
                          std::tuple(Kind::call_arguments, "{}", 1), std::tuple(Kind::call_end, "", 1)));
}

// Everything that a text releases when it is fed; what is held back shows in the next step.
TEST(CompletionParser, TextIsReleasedAsSoonAsItIsNoTag) {
    CompletionParser parser(false);
    const auto fed = [&](std::string_view text) {
        std::string released;
        for (const CompletionEvent& event : parser.feed(text)) {
            EXPECT_EQ(event.kind, Kind::content);
            released += event.text;
        }
        return released;
    };
    EXPECT_EQ(fed("a"), "a");
    EXPECT_EQ(fed("b <"), "b ");
    EXPECT_EQ(fed("b"), "<b");
    EXPECT_EQ(fed("\n\n\n"), "\n");
    EXPECT_EQ(fed("c"), "\n\nc");
    EXPECT_EQ(fed("\n\n<｜"), "");
    EXPECT_EQ(fed("DSML"), "");
    EXPECT_EQ(fed("｜ is"), "");
    EXPECT_EQ(fed(" a token"), "\n\n is a token");
    EXPECT_EQ(fed("<｜DSML｜invoke name=\"" + std::string(900, 'x')), "");
    EXPECT_EQ(fed(std::string(200, 'x')), "invoke name=\"" + std::string(1100, 'x'));
    EXPECT_EQ(fed("\n<｜end"), "");
    EXPECT_EQ(fed("▁of▁sentence｜>"), "\n");
    EXPECT_EQ(fed("d"), "d");
}

TEST(CompletionParser, ArgumentsStream) {
    CompletionParser parser(false);
    parser.feed(kCalls + "<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">");
    const auto fed = [&](std::string_view text) {
        std::string released;
        for (const CompletionEvent& event : parser.feed(text)) released += event.text;
        return released;
    };
    EXPECT_EQ(parser.completion().tool_calls[0].arguments, "{\"a\": \"");
    EXPECT_EQ(fed("ls \"x\""), "ls \\\"x\\\"");
    EXPECT_EQ(fed("\n\n"), "\\n");
    EXPECT_EQ(fed("</｜DSML"), "");
    EXPECT_EQ(fed("｜parameter>"), "\\n\"");
}

TEST(CompletionParser, ThinkTags) {
    expect("why", {.reasoning = "why", .repairs = {think_end_missing}}, true);
    expect("\n<think>why</think>\n</think>answer </think>",
           {.reasoning = "why", .content = "answer ", .repairs = {stray_think_tag}}, true);
    expect("why <think>not</think>a", {.reasoning = "why not", .content = "a", .repairs = {stray_think_tag}},
           true);
    expect("</think>answer", {.content = "answer", .repairs = {stray_think_tag}});
    expect("<think>why</think>answer",
           {.reasoning = "why", .content = "answer", .repairs = {stray_think_tag}});
    expect("First. </think>Then.", {.content = "First. \n\nThen.", .repairs = {stray_think_tag}});
    expect("First <think>2 + 2</think>\n\n4.",
           {.content = "First 2 + 2\n\n4.", .repairs = {stray_think_tag}});
    expect("use <think>", {.content = "use ", .repairs = {stray_think_tag}});
    expect("          </think>", {.content = "          ", .repairs = {stray_think_tag}});
    expect("a <｜User｜> b" + kEos + "c" + kEos, {.content = "a  bc", .repairs = {special_token}});
    expect("a <｜b\nc", {.content = "a <｜b\nc"});
}

TEST(CompletionParser, ABlockEndsReasoning) {
    const std::string block = "<｜DSML｜tool_calls>\n" + invoke("f", "") + kCallsEnd;
    expect("why\n\n" + block + kEos,
           {.reasoning = "why", .calls = {{"f", "{}"}}, .repairs = {think_end_missing}}, true);
    expect(block, {.calls = {{"f", "{}"}}, .repairs = {think_end_missing}}, true);
    expect("why\n\n" + block + "\n</think>\nand",
           {.reasoning = "why",
            .content = "and",
            .calls = {{"f", "{}"}},
            .repairs = {think_end_missing, stray_think_tag, text_after_calls}},
           true);
    // Thinking about the format is not using it, and is not shown.
    expect("I write <｜DSML｜tool_calls> and <｜DSML｜invoke name=\"f\"></think>a",
           {.reasoning = "I write  and ", .content = "a"}, true);
    expect("the\n\n<｜DSML｜tool_calls> tag</think>a", {.reasoning = "the\n\n tag", .content = "a"}, true);
}

TEST(CompletionParser, ReasoningHasNoMarksEvenIfPutTogether) {
    expect("a<｜User｜>b</think>c", {.reasoning = "ab", .content = "c", .repairs = {special_token}}, true);
    expect("a</thi<｜DSML｜invoke name=\"f\">nk>b</think>c", {.reasoning = "ab", .content = "c"}, true);
    expect("1 < 2 <th</think>c", {.reasoning = "1 < 2 <th", .content = "c"}, true);
    expect("a<th</think><think>ink>b</think>c",
           {.reasoning = "a<th\n\nink>b", .content = "c", .repairs = {stray_think_tag}}, true);
}

TEST(CompletionParser, TagsOutsideOfABlock) {
    expect("Write \"</|DSML|invoke>\", ｜DSML｜ and <｜DSML｜parameter name=\"f\">.",
           {.content = "Write \"\",  and .", .repairs = {stray_tag}});
    expect("<｜DSML｜unknown>", {.repairs = {stray_tag}});
    // One without the sentinel is text, unless the call of a tool follows that is offered.
    const std::string plain = "Write\n<tool_calls>\n<invoke name=\"f\">\n</invoke>\n</tool_calls>";
    expect(plain, {.content = plain});
    expect("a" + kCalls + invoke("f", "") + kCallsEnd + kCallsEnd + "\n",
           {.content = "a", .calls = {{"f", "{}"}}, .repairs = {stray_tag}});
    expect("a" + kCalls + kCallsEnd + "b", {.content = "a\n\nb", .repairs = {empty_block}});
}

TEST(CompletionParser, MissingTags) {
    const std::string a = parameter("a", "x");
    const std::vector<std::pair<std::string, std::string>> call = {{"f", "{\"a\": \"x\"}"}};
    // <tool_calls>, with and without the end.
    expect(std::string("t\n\n") + invoke("f", a),
           {.content = "t", .calls = call, .repairs = {calls_start_missing}});
    expect(std::string("t") + invoke("f", a) + kCallsEnd + "\n",
           {.content = "t", .calls = call, .repairs = {calls_start_missing, stray_tag}});
    // </tool_calls>
    expect(kCalls + invoke("f", a) + kEos, {.calls = call, .repairs = {calls_end_missing}});
    // </invoke>
    const std::string open = "<｜DSML｜invoke name=\"f\">\n" + a;
    expect(kCalls + open + kCallsEnd, {.calls = call, .repairs = {invoke_end_missing}});
    expect(kCalls + open + "\n" + open + kCallsEnd,
           {.calls = {call[0], call[0]}, .repairs = {invoke_end_missing}});
    // </parameter>
    const std::string cut = "<｜DSML｜parameter name=\"a\" string=\"true\">x";
    expect(kCalls + invoke("f", cut) + kCallsEnd, {.calls = call, .repairs = {parameter_end_missing}});
    expect(kCalls + "<|DSML|invoke name=\"f\">" + cut + "</|DSML|invoke></|DSML|tool_calls>",
           {.calls = call, .repairs = {parameter_end_missing}});
    expect(kCalls + invoke("f", cut + "\n" + parameter("b", "y")) + kCallsEnd,
           {.calls = {{"f", R"({"a": "x", "b": "y"})"}}, .repairs = {parameter_end_missing}});
    expect(kCalls + "<｜DSML｜invoke name=\"f\">\n" + cut + kCallsEnd,
           {.calls = call, .repairs = {parameter_end_missing, invoke_end_missing}});
    // A second opening, text between the tags.
    expect(kCalls + "<｜DSML｜tool_calls>\n" + invoke("f", a) + kCallsEnd,
           {.calls = call, .repairs = {stray_tag}});
    expect(kCalls + invoke("f", a + "and") + "then" + invoke("f", "that: " + a) + "</think>" + kCallsEnd,
           {.content = "then", .calls = {call[0], call[0]}, .repairs = {text_in_block, stray_think_tag}});
    expect(kCalls + "</｜DSML｜invoke>" + a + invoke("f", a) + kCallsEnd,
           {.content = "x", .calls = call, .repairs = {text_in_block, stray_tag}});
}

TEST(CompletionParser, TagsInValuesAreText) {
    const std::string code =
        "print(\"</｜DSML｜invoke>\") # <｜DSML｜parameter name=\"x\"> "
        "<think></think>\n<｜DSML｜tool_calls>\n<b>";
    expect(kCalls + invoke("f", parameter("a", code)) + kCallsEnd,
           {.calls = {{"f",
                       "{\"a\": \"print(\\\"</｜DSML｜invoke>\\\") # <｜DSML｜parameter name=\\\"x\\\"> "
                       "<think></think>\\n<｜DSML｜tool_calls>\\n<b>\"}"}}});
}

TEST(CompletionParser, Values) {
    const auto arguments = [](const std::string& attribute, const std::string& value,
                              const std::set<Repair>& repairs) {
        const std::string text =
            kCalls +
            invoke("f", "<｜DSML｜parameter name=\"a\"" + attribute + ">" + value + "</｜DSML｜parameter>") +
            kCallsEnd;
        const Completion result = parse_completion(text, false);
        EXPECT_EQ(result.repairs, repairs) << value;
        return result.tool_calls.at(0).arguments;
    };
    const std::string json = " string=\"false\"";
    EXPECT_EQ(arguments(json, "\n [1.50, {\"x\":null}]\n", {}), "{\"a\": [1.50, {\"x\":null}]}");
    EXPECT_EQ(arguments(json, "\"s\"", {}), "{\"a\": \"s\"}");
    EXPECT_EQ(arguments(json, "hello", {invalid_json_value}), "{\"a\": \"hello\"}");
    EXPECT_EQ(arguments(json, "[1", {invalid_json_value}), "{\"a\": \"[1\"}");
    EXPECT_EQ(arguments(json, "", {invalid_json_value}), "{\"a\": \"\"}");
    EXPECT_EQ(arguments(json, "True", {invalid_json_value}), "{\"a\": true}");
    EXPECT_EQ(arguments(json, "None", {invalid_json_value}), "{\"a\": null}");
    EXPECT_EQ(arguments("", "5", {string_attribute_missing}), "{\"a\": 5}");
    EXPECT_EQ(arguments("", "five", {string_attribute_missing}), "{\"a\": \"five\"}");
    EXPECT_EQ(arguments(" string=\"true\"", "5", {}), "{\"a\": \"5\"}");
}

TEST(CompletionParser, TheFirstOfEqualParametersCounts) {
    expect(kCalls +
               invoke("f", parameter("a", "1") + parameter("b", "2") + parameter("a", "3") +
                               parameter("a", "4", "false")) +
               kCallsEnd,
           {.calls = {{"f", R"({"a": "1", "b": "2"})"}}, .repairs = {duplicate_parameter}});
}

TEST(CompletionParser, TruncatedAnywhere) {
    const std::string text = "hi" + kCalls +
                             invoke("f", parameter("a", "x\ny") + "\n" + parameter("b", "[1]", "false")) +
                             kCallsEnd;
    const auto after = [&](const std::string& piece) { return text.find(piece) + piece.size(); };
    for (std::size_t length = after("<｜DSML｜"); length < text.size(); length++) {
        if ((text[length] & 0xC0) == 0x80) continue;  // inside a character
        const Completion result = parse_completion(text.substr(0, length), false);
        EXPECT_FALSE(result.well_formed()) << length;
        EXPECT_EQ(result.content, "hi") << length;
        ASSERT_EQ(result.tool_calls.size(), length < after("name=\"f\">") ? 0U : 1U) << length;
        for (const ParsedToolCall& call : result.tool_calls) {
            EXPECT_EQ(call.complete, length >= after("</｜DSML｜invoke>")) << length;
            EXPECT_TRUE(nlohmann::json::parse(call.arguments).is_object());
        }
        if (text[length - 1] != '>')
            continue;  // EOS shows that a tag is none; a model's EOS is not part of its text
        const Completion with_eos = parse_completion(text.substr(0, length) + kEos, false);
        EXPECT_EQ(with_eos.tool_calls.size(), result.tool_calls.size()) << length;
    }
    expect(text.substr(0, text.find("y<")),
           {.content = "hi", .calls = {{"f", "{\"a\": \"x\\n\"}"}}, .repairs = {truncated}});
    expect("hi\n\n<｜DSML｜tool_c", {.content = "hi", .repairs = {truncated}});
    expect("hi\n\n<｜DSM", {.content = "hi", .repairs = {truncated}});
    expect("hi\n\n<", {.content = "hi\n\n<"});
}

TEST(CompletionParser, SpellingVariants) {
    expect(
        "\n\n<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"f\">\n<｜DSML｜ parameter name=\"a\" "
        "string=\"false\">1"
        "</｜DSML｜ parameter>\n</｜DSML｜ invoke>\n</｜DSML｜ calls>" +
            kEos,
        {.calls = {{"f", "{\"a\": 1}"}}});
    expect(
        "ok <|DSML|tool_calls><|DSML|invoke name='f'><|DSML|parameter name='a' "
        "string='true'>x</|DSML|parameter>"
        "</|DSML|invoke>\r\n\r\n</|DSML|tool_calls>\n",
        {.content = "ok ", .calls = {{"f", "{\"a\": \"x\"}"}}});
}

TEST(CompletionParser, SeveralBlocks) {
    const std::string block = kCalls + invoke("f", "") + kCallsEnd;
    expect(block + block + " then",
           {.content = "then", .calls = {{"f", "{}"}, {"f", "{}"}}, .repairs = {text_after_calls}});
}

TEST(CompletionParser, HostileTextTakesLinearTime) {
    const std::string starts[] = {"<", "\n", "<｜DSML｜invoke name=\"",
                                  "<|DSML|tool_calls>" + std::string(63, ' '), " "};
    for (const std::string& start : starts) {
        std::string text;
        while (text.size() < 100'000) text += start;
        for (const std::string& before :
             {std::string(), kCalls + "<｜DSML｜invoke name=\"f\">\n<|DSML|parameter name=a>"}) {
            CompletionParser parser(false);
            parser.feed(before);
            for (const char c : text) parser.feed({&c, 1});
            parser.finish();
        }
    }
}

// Content of a form, fed a byte at a time as well.
Completion formed(const std::string& text, bool in_reasoning, std::shared_ptr<const ToolSchemas> tools) {
    CompletionParser whole(in_reasoning, tools, ChatFormat::v4, ContentKind::formed);
    CompletionParser bytes(in_reasoning, tools, ChatFormat::v4, ContentKind::formed);
    whole.feed(text);
    for (const char byte : text) bytes.feed({&byte, 1});
    whole.finish();
    bytes.finish();
    EXPECT_EQ(whole.completion().content, bytes.completion().content) << text;
    EXPECT_EQ(whole.completion().reasoning, bytes.completion().reasoning) << text;
    EXPECT_EQ(whole.completion().tool_calls.size(), bytes.completion().tool_calls.size()) << text;
    return whole.completion();
}

TEST(CompletionParser, ContentOfAFormIsPassedOnAsItIs) {
    const std::string odd = "\n\n<think></think><|tool|>\n<tool_calls>\n" + invoke("f", parameter("a", "x")) +
                            "\n</tool_calls>\n " + kEos + "\n\n";
    EXPECT_EQ(formed(odd, false, nullptr).content, odd);
    const Completion thought = formed("why\n</think>" + odd, true, nullptr);
    EXPECT_EQ(thought.reasoning, "why\n");
    EXPECT_EQ(thought.content, odd);
    EXPECT_TRUE(thought.tool_calls.empty());
    EXPECT_TRUE(thought.repairs.empty());
}

TEST(CompletionParser, ABlockInPlaceOfAFormIsOneIfThereAreTools) {
    Conversation conversation;
    conversation.tools = {{{"name", "f"}, {"parameters", {{"type", "object"}}}}};
    const auto tools = std::make_shared<const ToolSchemas>(conversation, true);
    const auto silent = std::make_shared<const ToolSchemas>(conversation, false);
    const std::string calls = kCalls + invoke("f", parameter("a", "x")) + kCallsEnd;
    EXPECT_EQ(formed(calls, false, tools).tool_calls.size(), 1u);
    EXPECT_EQ(formed("why</think>" + calls, true, tools).tool_calls.size(), 1u);
    EXPECT_EQ(formed("why.\n" + calls, true, tools).tool_calls.size(), 1u);  // ends the reasoning
    EXPECT_EQ(formed(calls, false, silent).content, calls);
    EXPECT_EQ(formed("{}" + calls, false, tools).content, "{}" + calls);  // not at the beginning
    EXPECT_EQ(formed("\n\n<", false, tools).content, "\n\n<");
}

}  // namespace
}  // namespace cachalot
