#include "grammar/tool_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "grammar/states.h"
#include "grammar_test.h"
#include "sampling/small_tokenizer.h"
#include "text/completion_parser.h"
#include "text/prompt_protocol.h"
#include "text/tool_schema.h"

namespace cachalot::grammar::test {
namespace {

using cachalot::test::tokenizer;
using ::testing::HasSubstr;

constexpr std::int32_t kEos = 1, kMark = 2;

std::shared_ptr<const TokenTrie> trie() {
    static const auto kTrie = make_token_trie(tokenizer());
    return kTrie;
}

// Tools as a client declares them.
struct Tools {
    explicit Tools(std::string_view text, bool strict = true) {
        for (const Json& tool : Json::parse(text)) functions.push_back(tool);
        for (const Json& tool : functions)
            callable.push_back({tool.at("name"), &tool.at("parameters"), strict});
        conversation.tools.assign(functions.begin(), functions.end());
    }
    std::vector<Json> functions;
    std::vector<CallableTool> callable;
    Conversation conversation;
};

const char* const kTools = R"([
    {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14}, "unit": {"enum": ["c", "f"]}}, "required": ["city"]}},
    {"name": "now", "parameters": {"type": "object", "properties": {}}},
    {"name": "edit", "parameters": {"type": "object", "properties": {
        "path": {"type": "string", "pattern": "^/[a-z/]+$", "maxLength": 9}, "lines": {"type": "array", "items": {"type":
        "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 4}}, "required": ["n", "s"]},
        "maxItems": 3}, "to": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}, {"type": "number"}]}},
        "required": ["path", "lines", "to"]}}
])";

// The text with the mark's symbol for its letters.
std::vector<Symbol> symbols(std::string_view text) {
    std::vector<Symbol> all;
    while (!text.empty()) {
        if (text.starts_with("｜DSML｜")) {
            all.push_back(kFirstMark);
            text.remove_prefix(std::string_view("｜DSML｜").size());
            continue;
        }
        all.push_back(static_cast<unsigned char>(text[0]));
        text.remove_prefix(1);
    }
    return all;
}

bool has(const GrammarPtr& grammar, std::string_view text) {
    const Position at = grammar->states().next(grammar->states().begin(), symbols(text));
    return at.state && at.state->ends;
}

TEST(ToolCalls, BlocksAsTheFormatsSpellThem) {
    const Tools tools(kTools);
    const auto v41 = compile_tool_calls(tools.callable, {.format = ChatFormat::v41});
    const std::string weather =
        "<｜DSML｜ invoke name=\"get_weather\">\n<｜DSML｜ parameter name=\"city\" string=\"true\">a </b> "
        "\n\n"
        "c</｜DSML｜ parameter>\n<｜DSML｜ parameter name=\"days\" string=\"false\">14</｜DSML｜ "
        "parameter>\n</｜DSML｜ invoke>";
    const std::string now = "<｜DSML｜ invoke name=\"now\">\n\n</｜DSML｜ invoke>";
    const std::string begin = "\n\n<｜DSML｜ calls>\n", end = "\n</｜DSML｜ calls>";
    EXPECT_TRUE(has(v41, begin + weather + end));
    EXPECT_TRUE(has(v41, begin + now + "\n" + weather + "\n" + now + end));
    EXPECT_FALSE(has(v41, begin + end));
    EXPECT_FALSE(has(v41, begin + now));
    EXPECT_FALSE(has(v41, begin + now + weather + end));
    EXPECT_FALSE(has(v41, begin + "<｜DSML｜ invoke name=\"get_weather\">\n\n</｜DSML｜ invoke>" + end));
    EXPECT_FALSE(has(v41, begin + "<｜DSML｜ invoke name=\"other\">\n\n</｜DSML｜ invoke>" + end));
    const auto one = compile_tool_calls(tools.callable, {.format = ChatFormat::v41, .parallel = false});
    EXPECT_TRUE(has(one, begin + now + end));
    EXPECT_FALSE(has(one, begin + now + "\n" + now + end));
    const auto v4 = compile_tool_calls(tools.callable, {});
    EXPECT_TRUE(has(v4,
                    "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke "
                    "name=\"now\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"));
}

TEST(ToolCalls, ValuesKeepToTheirSchemas) {
    const auto value = [](const std::string& schema, const std::string& text) {
        const Tools tools(R"([{"name": "f", "parameters": {"type": "object", "properties": {"p": )" + schema +
                          R"(}, "required": ["p"]}}])");
        return has(compile_tool_calls(tools.callable, {}),
                   "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"p\" " +
                       text + "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>");
    };
    EXPECT_TRUE(value(R"({"type": "string"})", "string=\"true\">"));
    EXPECT_TRUE(value(R"({"type": "string"})", "string=\"true\">\"quoted\" <b> & ｜ DSM |\n"));
    EXPECT_FALSE(value(R"({"type": "string"})", "string=\"false\">\"x\""));
    EXPECT_FALSE(value(R"({"type": "string"})", "string=\"true\">|DSML"));
    EXPECT_FALSE(value(R"({"type": "string"})", "string=\"true\">dsml｜ "));
    EXPECT_TRUE(value(R"({"enum": ["a b", 3]})", "string=\"true\">a b"));
    EXPECT_TRUE(value(R"({"enum": ["a b", 3]})", "string=\"false\">3"));
    EXPECT_FALSE(value(R"({"enum": ["a b", 3]})", "string=\"true\">3"));
    EXPECT_TRUE(value(R"({"type": "string", "minLength": 2, "maxLength": 3000})",
                      "string=\"true\">" + std::string(3000, 'x')));
    EXPECT_FALSE(value(R"({"type": "string", "minLength": 2, "maxLength": 3000})",
                       "string=\"true\">" + std::string(3001, 'x')));
    EXPECT_TRUE(value(R"({"type": "string", "maxLength": 3})", "string=\"true\">äöü"));
    EXPECT_FALSE(value(R"({"type": "string", "maxLength": 3})", "string=\"true\">äöüx"));
    EXPECT_TRUE(value(R"({"type": ["string", "null"]})", "string=\"false\">null"));
    EXPECT_TRUE(value("{}", "string=\"false\">{\"a\": [1]}"));
    EXPECT_TRUE(value("true", "string=\"true\">{"));
    EXPECT_FALSE(value(R"({"type": "object", "properties": {"a": {"type": "integer"}}})",
                       "string=\"false\">{\"a\": \"x\"}"));
}

TEST(ToolCalls, WithoutStrictWhatCannotBeHeldToIsNot) {
    const char* text =
        R"([{"name": "f", "parameters": {"type": "object", "properties": {"a": {"not": {}}, "b": {"type":
        "integer"}}, "required": ["a", "b"]}}, {"name": "g", "parameters": {"if": {}}}])";
    const Tools strict(text), loose(text, false);
    EXPECT_THAT(grammar_error([&] { compile_tool_calls(strict.callable, {}); }),
                HasSubstr("#/properties/a/not"));
    const auto grammar = compile_tool_calls(loose.callable, {});
    const auto call = [&](const std::string& name, const std::string& parameters) {
        return has(grammar, "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + name + "\">\n" +
                                parameters + "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>");
    };
    const auto parameter = [](const std::string& name, const std::string& value) {
        return "<｜DSML｜parameter name=\"" + name + "\" " + value + "</｜DSML｜parameter>";
    };
    EXPECT_TRUE(call("f", parameter("a", "string=\"true\">x") + "\n" + parameter("b", "string=\"false\">1")));
    EXPECT_TRUE(
        call("f", parameter("a", "string=\"false\">[1]") + "\n" + parameter("b", "string=\"false\">1")));
    EXPECT_FALSE(call("f", parameter("a", "string=\"true\">x") + "\n" + parameter("b", "string=\"true\">1")));
    EXPECT_TRUE(
        call("g", parameter("any", "string=\"true\">x") + "\n" + parameter("other", "string=\"false\">1")));
    EXPECT_TRUE(call("g", ""));
    EXPECT_THAT(grammar_error([&] { compile_tool_calls({}, {}); }), HasSubstr("no tools"));
}

// ---- The constraint

std::vector<std::int32_t> tokens_of(std::string_view text) {
    return tokenizer().encode(text, SpecialTokens::parse);
}

CallRules rules(CallChoice choice, std::optional<std::int32_t> reasoning_end = {}) {
    return {.choice = choice, .reasoning_end = reasoning_end, .mark = kMark, .end_tokens = {kEos}};
}

TEST(ToolCallConstraint, IsFreeUntilABlockBegins) {
    const Tools tools(kTools);
    ToolCallConstraint constraint(compile_tool_calls(tools.callable, {}), trie(),
                                  rules(CallChoice::automatic));
    EXPECT_TRUE(constraint.allows(kEos));
    EXPECT_FALSE(constraint.allows(kMark));
    for (const auto token : tokens_of("some text\n\n<")) {
        EXPECT_TRUE(constraint.allows(token));
        constraint.accept(token);
    }
    EXPECT_TRUE(constraint.allows(kMark));
    constraint.accept(kMark);
    EXPECT_FALSE(constraint.allows(kEos));
    EXPECT_FALSE(constraint.allows(kMark));
    const auto forced = constraint.forced();
    std::string text;
    for (const auto token : forced) text += tokenizer().bytes(token);
    EXPECT_EQ(text, "tool_calls>\n<｜DSML｜invoke name");  // what follows decides how the rest is divided
    for (const auto token : forced) constraint.accept(token);
    constraint.rollback(forced.size() + 1);
    EXPECT_TRUE(constraint.allows(kEos));
    EXPECT_TRUE(constraint.allows(kMark));
    constraint.rollback(1);
    EXPECT_FALSE(constraint.allows(kMark));
}

TEST(ToolCallConstraint, RequiredBlocksAndNone) {
    const Tools tools(kTools);
    const auto grammar = compile_tool_calls(tools.callable, {});
    ToolCallConstraint required(grammar, trie(), rules(CallChoice::required));
    EXPECT_FALSE(required.allows(kEos));
    ASSERT_FALSE(required.forced().empty());
    EXPECT_EQ(tokenizer().bytes(required.forced()[0]), "\n");
    const std::int32_t ends = 0;  // of reasoning
    ToolCallConstraint later(grammar, trie(), rules(CallChoice::required, ends));
    EXPECT_TRUE(later.allows(kMark));
    later.accept(tokens_of("t")[0]);
    EXPECT_TRUE(later.forced().empty());
    later.accept(ends);
    EXPECT_EQ(later.forced(), required.forced());
    later.rollback(1);
    EXPECT_TRUE(later.forced().empty());
    ToolCallConstraint none(nullptr, trie(), rules(CallChoice::none));
    none.accept(tokens_of("<")[0]);
    EXPECT_FALSE(none.allows(kMark));
    std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0F);
    none.mask(logits);
    EXPECT_EQ(std::count(logits.begin(), logits.end(), 1.0F), tokenizer().size() - 1);
}

// Writes until the block has ended, at random, but not for ever.
std::string sample(ToolCallConstraint& constraint, std::mt19937& random) {
    std::string text;
    for (int step = 0; step < 4000; ++step) {
        auto next = constraint.forced();
        if (next.empty()) {
            std::vector<float> logits(static_cast<std::size_t>(tokenizer().size()), 1.0F);
            constraint.mask(logits);
            const auto fits = [&](std::string_view token) {
                return logits[static_cast<std::size_t>(tokenizer().find(token).value())] == 1.0F;
            };
            if (logits[kEos] == 1.0F) return text;
            std::vector<std::int32_t> fitting;
            for (std::int32_t token = 0; token < tokenizer().size(); ++token)
                if (logits[static_cast<std::size_t>(token)] == 1.0F) fitting.push_back(token);
            std::int32_t chosen = fitting.at(random() % fitting.size());
            const bool closes = random() % 3 == 0;
            for (const char* end : {"<", "\"", "}", "]"})
                if (closes && fits(end)) chosen = *tokenizer().find(end);
            if (logits[kMark] == 1.0F) chosen = kMark;
            if (text.ends_with('<') && fits("/") && random() % 2 == 0) chosen = *tokenizer().find("/");
            next = {chosen};
        }
        for (const auto token : next) {
            EXPECT_TRUE(constraint.allows(token));
            constraint.accept(token);
            text += tokenizer().bytes(token);
        }
    }
    return {};
}

// What a block's text amounts to for the parser that reads it.
void check_block(const std::string& text, const Tools& tools, ChatFormat format) {
    SCOPED_TRACE(text);
    const auto schemas = std::make_shared<const ToolSchemas>(tools.conversation);
    const Completion parsed = parse_completion(text, false, schemas, format);
    EXPECT_TRUE(parsed.well_formed());
    EXPECT_EQ(parsed.content, "");
    std::size_t begun = 0;
    const std::string invoke = protocol_of(format).invoke_start;
    for (auto at = text.find(invoke); at != std::string::npos; at = text.find(invoke, at + 1)) ++begun;
    EXPECT_EQ(parsed.tool_calls.size(), begun);
    for (const auto& call : parsed.tool_calls) {
        EXPECT_TRUE(call.complete);
        const auto tool = std::find_if(tools.functions.begin(), tools.functions.end(),
                                       [&](const Json& one) { return one.at("name") == call.name; });
        ASSERT_NE(tool, tools.functions.end());
        const auto arguments = Json::parse(call.arguments).dump();
        EXPECT_TRUE(matches(*compile_json_schema(tool->at("parameters")), arguments)) << arguments;
    }
}

TEST(ToolCallConstraint, EveryBlockParsesAndValidates) {
    const Tools tools(kTools);
    for (const ChatFormat format : {ChatFormat::v4, ChatFormat::v41}) {
        const auto grammar = compile_tool_calls(tools.callable, {.format = format});
        int ended = 0;
        for (std::uint32_t seed = 0; seed < 40; ++seed) {
            std::mt19937 random(seed);
            ToolCallConstraint constraint(grammar, trie(), rules(CallChoice::required));
            const std::string text = sample(constraint, random);
            if (text.empty()) continue;  // a value that would not end
            ++ended;
            check_block(text, tools, format);
        }
        EXPECT_GT(ended, 30);
    }
}

}  // namespace
}  // namespace cachalot::grammar::test
