#include "text/content_filter.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "text/completion_parser.h"
#include "text/mark_reader.h"

namespace cachalot {
namespace {

std::string filtered(const std::vector<std::string>& pieces) {
    ContentFilter filter;
    std::string out;
    for (const std::string& piece : pieces) out += filter.feed(piece);
    return out + filter.flush();
}

// Where a mark stands in a text that is over; its length if nowhere.
std::size_t find_mark(const std::string& text) {
    for (std::size_t at = 0; at < text.size(); at++)
        if (control_mark(std::string_view(text).substr(at), true).kind != Mark::Kind::text) return at;
    return text.size();
}

TEST(ContentFilter, TakesOutWhatNothingIsLeftOf) {
    const std::pair<const char*, const char*> cases[] = {
        {"a < b <c> </d> ｜", "a < b <c> </d> ｜"},
        {"<<EOF <<<<<<< a", "<<EOF <<<<<<< a"},
        {"<th <｜x </thin", "<th <｜x </thin"},
        {"a </think> b", "a  b"},
        {"a </thi<think>nk> b", "a  b"},
        {"<<think>think>", ""},
        {"<｜Us<｜User｜>er｜>x", "x"},
        {"<th</thi<｜a｜>nk>ink>x", "x"},
        {"<｜DS<think>ML｜invoke name=\"run\">x", "x"},
        {"｜DS<think>ML｜x y.", "x y."},
        {"</thi<｜DSML｜>nk>x", "x"},
        {"a<｜DSML｜", "a"},
        {"</｜DSML｜invoke>x</|DSML|foo>", "x"},
        {"<</think>", "<"},
        {"<</think>b", "<b"},
        {"（<th（", "（<th（"},
    };
    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(filtered({text}), expected);
        std::vector<std::string> characters;
        for (const char c : std::string(text)) characters.emplace_back(1, c);
        EXPECT_EQ(filtered(characters), expected);
    }
}

TEST(ContentFilter, TextThatIsNoMarkIsNotHeldBack) {
    ContentFilter filter;
    EXPECT_EQ(filter.feed("a <"), "a ");
    EXPECT_EQ(filter.feed("b"), "<b");
    EXPECT_EQ(filter.feed("</thin"), "");
    EXPECT_EQ(filter.feed("g"), "</thing");
    EXPECT_TRUE(filter.empty());
}

const std::vector<std::string> kPieces = {"<",
                                          "</",
                                          ">",
                                          "th",
                                          "ink",
                                          "think",
                                          "<think>",
                                          "</think>",
                                          "｜",
                                          "|",
                                          "DS",
                                          "ML",
                                          "DSML",
                                          "<｜DSML｜",
                                          "User",
                                          "<｜User｜>",
                                          "invoke",
                                          "parameter",
                                          " name=\"run\"",
                                          " name=\"command\" string=\"true\"",
                                          "x",
                                          " ",
                                          "\n",
                                          "<｜DSML｜tool_calls>",
                                          "</｜DSML｜tool_calls>",
                                          "<｜DSML｜invoke name=\"run\">",
                                          "<｜DSML｜invoke name=\"other\">",
                                          "<｜DSML｜invoke name=\"run\"/>",
                                          "</｜DSML｜invoke>",
                                          "<｜DSML｜parameter name=\"command\" string=\"true\">",
                                          "</｜DSML｜parameter>",
                                          "{\"command\": \"ls\"}",
                                          "<invoke>",
                                          "<invoke functions.run>"};

std::vector<std::string> cut(const std::string& text) {
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size(); at += pieces.back().size())
        pieces.push_back(text.substr(at, *rc::gen::inRange<std::size_t>(1, 12)));
    return pieces;
}

std::string mixture() {
    std::string text;
    for (const std::string& piece :
         *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces)))
        text += piece;
    return text;
}

RC_GTEST_PROP(ContentFilterProperties, NothingPassesHoweverItIsCut, ()) {
    const std::string text = mixture();
    const std::string whole = filtered({text});
    RC_ASSERT(find_mark(whole) == whole.size());
    RC_ASSERT(filtered(cut(text)) == whole);
}

// The same of answers, of their reasoning and their content, with calls that are given back.
RC_GTEST_PROP(ContentFilterProperties, AnswersNeverHaveAMark, (bool in_reasoning)) {
    Conversation conversation;
    conversation.tools = {nlohmann::ordered_json::parse(R"({"name": "run", "parameters": {"type": "object",
        "required": ["command"], "properties": {"command": {"type": "string"}}}})")};
    const auto tools = std::make_shared<const ToolSchemas>(conversation);
    const std::string text = mixture();
    const Completion whole = parse_completion(text, in_reasoning, tools);
    RC_ASSERT(find_mark(whole.content) == whole.content.size());
    RC_ASSERT(find_mark(whole.reasoning) == whole.reasoning.size());
    CompletionParser parser(in_reasoning, tools);
    std::string streamed, reasoning;
    const auto add = [&](const std::vector<CompletionEvent>& events) {
        for (const CompletionEvent& event : events) {
            if (event.kind == CompletionEvent::Kind::content) streamed += event.text;
            if (event.kind == CompletionEvent::Kind::reasoning) reasoning += event.text;
        }
    };
    for (const std::string& piece : cut(text)) add(parser.feed(piece));
    add(parser.finish());
    RC_ASSERT(streamed == whole.content);
    RC_ASSERT(reasoning == whole.reasoning);
    RC_ASSERT(parser.completion().content == whole.content);
    RC_ASSERT(parser.completion().repairs == whole.repairs);
    RC_ASSERT(parser.completion().tool_calls.size() == whole.tool_calls.size());
    for (std::size_t i = 0; i < whole.tool_calls.size(); i++)
        RC_ASSERT(parser.completion().tool_calls[i].arguments == whole.tool_calls[i].arguments);
}

}  // namespace
}  // namespace cachalot
