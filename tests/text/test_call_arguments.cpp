// Arguments read with the schema of their tool at hand.
#include "text/call_arguments.h"

#include <gtest/gtest.h>

#include "text/completion_parser.h"
#include "text/json_fit.h"
#include "text/loose_json.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;

std::shared_ptr<const ToolSchemas> tool(const char* parameters, bool callable = true) {
    Conversation conversation;
    conversation.tools = {{{"name", "f"}, {"parameters", ordered_json::parse(parameters)}}};
    return std::make_shared<const ToolSchemas>(conversation, callable);
}

// The calls of a block that holds `inside` between the tags of an invoke of f, then what became content.
std::string read(const std::string& inside, const std::shared_ptr<const ToolSchemas>& tools) {
    const Completion result = parse_completion("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n" +
                                                   inside + "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
                                               false, tools);
    std::string all;
    for (const ParsedToolCall& call : result.tool_calls) all += call.name + call.arguments;
    return result.content.empty() ? all : all + "|" + result.content;
}

std::string parameter(const std::string& name, const std::string& value, const std::string& string) {
    return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + string + "\">" + value +
           "</｜DSML｜parameter>";
}

TEST(JsonFit, MakesValuesWhatTheSchemaWants) {
    struct Case {
        const char* schema;
        const char* value;
        bool is_string;
        const char* expected;
    };
    const Case cases[] = {
        {R"({"type": "integer"})", "5", true, "5"},
        {R"({"type": "integer"})", " -5\n", true, "-5"},
        {R"({"type": "integer"})", "5.0", true, "5"},
        {R"({"type": "integer"})", "5.0", false, "5"},
        {R"({"type": "integer"})", "5.5", true, "\"5.5\""},
        {R"({"type": "integer"})", "5.5", false, "5.5"},
        {R"({"type": "integer"})", "five", true, "\"five\""},
        {R"({"type": "integer"})", "\"5\"", false, "5"},
        {R"({"type": "integer"})", "12345678901234567890", false, "12345678901234567890"},
        {R"({"type": "number"})", "1e-3", true, "0.001"},
        {R"({"type": "number"})", "5", false, "5"},
        {R"({"type": "boolean"})", "True", true, "true"},
        {R"({"type": "boolean"})", "false", true, "false"},
        {R"({"type": "boolean"})", "1", false, "true"},
        {R"({"type": "boolean"})", "2", false, "2"},
        {R"({"type": "boolean"})", "yes", true, "\"yes\""},
        {R"({"type": "string"})", "1.50", false, "\"1.50\""},
        {R"({"type": "string"})", "true", false, "\"true\""},
        {R"({"type": "string"})", "{\"a\": 1}", false, R"("{\"a\": 1}")"},
        {R"({"type": "string"})", "null", false, "null"},
        {R"({"type": "string"})", "\"s\"", false, "\"s\""},
        {R"({"type": "array"})", "[1, 2]", true, "[1, 2]"},
        {R"({"type": "array", "items": {"type": "integer"}})", "[\"1\", 2.0]", false, "[1, 2]"},
        {R"({"type": "array", "items": {"type": "string"}})", "[1, \"b\"]", false, "[\"1\", \"b\"]"},
        {R"({"type": "array"})", "1, 2", true, "\"1, 2\""},
        {R"({"type": "object"})", "{\"a\": 1}", true, "{\"a\": 1}"},
        {R"({"type": "object"})", "\"{\\\"a\\\": 1}\"", false, "{\"a\": 1}"},
        {R"({"properties": {"n": {"type": "integer"}}})", "{\"n\": \"5\", \"m\": \"6\"}", false,
         "{\"n\": 5, \"m\": \"6\"}"},
        {R"({"type": ["integer", "null"]})", "null", true, "null"},
        {R"({"type": ["integer", "string"]})", "5", true, "\"5\""},
        {R"({"type": ["integer", "string"]})", "5", false, "5"},
        {R"({"anyOf": [{"type": "boolean"}, {"type": "null"}]})", "true", true, "true"},
        {R"({"enum": [1, 2]})", "2", true, "2"},
        {R"({"const": "1"})", "1", false, "\"1\""},
        {R"({"allOf": [{"description": "x"}, {"type": "integer"}]})", "5", true, "5"},
        {R"({"$ref": "#/$defs/n"})", "5", true, "5"},
        {R"({"$ref": "#/$defs/loop"})", "5", true, "\"5\""},
        {R"({"$ref": "#/nowhere"})", "5", true, "\"5\""},
        {R"({"type": "integer", "nullable": true})", "None", true, "null"},
        {R"({})", "5", true, "\"5\""},
        {R"(true)", "5", false, "5"},
        {R"({"type": "colour"})", "5", true, "\"5\""},
        {R"({"type": 5})", "5", true, "\"5\""},
    };
    auto root =
        ordered_json::parse(R"({"$defs": {"n": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}})");
    for (const Case& c : cases) {
        const bool is_changed =
            std::string(c.expected) != (c.is_string ? json_string(c.value) : std::string(c.value));
        bool changed = false;
        root["properties"]["a"] = ordered_json::parse(c.schema);
        const CompiledSchema compiled(root);
        EXPECT_EQ(fit_json({"a", c.is_string, c.value}, compiled.root().member("a"), &changed), c.expected)
            << c.schema << c.value;
        EXPECT_EQ(changed, is_changed) << c.schema << c.value;
    }
}

TEST(LooseJson, IsMendedWhereNoDoubtIsLeft) {
    const std::pair<const char*, const char*> cases[] = {
        {" {\"a\": 1.50} ", "{\"a\": 1.50}"},
        {"```json\n{\"a\": 1}\n```", "{\"a\": 1}"},
        {"{\"a\": \"x\ny\tz\"}", "{\"a\": \"x\\ny\\tz\"}"},
        {"{'a': 'it\\'s \"b\"', 'c': True, \"d\": None,}",
         "{\"a\": \"it's \\\"b\\\"\", \"c\": true, \"d\": null}"},
        {"{\"a\": [1, {\"b\": \"c", "{\"a\": [1, {\"b\": \"c\"}]}"},
        {"{\"a\": 1, \"b\":", "{\"a\": 1}"},
        {"{\"a\": 1, \"b", "{\"a\": 1}"},
        {"{\"a\": 1,", "{\"a\": 1}"},
        {"{\"a\": 1}}", "{\"a\": 1}"},
        {"[1, 2,]", "[1, 2]"},
        {"{a: 1, b_c : [{d: 2}]}", "{\"a\": 1, \"b_c\" : [{\"d\": 2}]}"},
    };
    for (const auto& [text, expected] : cases) EXPECT_EQ(mend_json(text), expected) << text;
    for (const char* text : {"", "x", "5", "\"{}\"", "{a", "{\"a\"", "{\"a\": \"b\" c\"}", "{\"a\": 1} and",
                             "{]", "{\"a\": 1]", "{\"a\": 1, \"b\": \"c\"d\"}", "awk '{print}'", "{ echo; }"})
        EXPECT_EQ(mend_json(text), std::nullopt) << text;
    EXPECT_EQ(mend_json(std::string(100'000, '[')), std::nullopt);
}

TEST(CallArguments, AWrapperIsWhatTheToolDoesNotHave) {
    const auto two = tool(R"({"type": "object", "required": ["path", "n"], "properties":
        {"path": {"type": "string"}, "n": {"type": "integer"}}})");
    const std::string meant = "f{\"path\": \"a\", \"n\": 5}";
    const std::string object = R"({"path": "a", "n": 5})";
    for (const char* name :
         {"arguments", "Arguments", "args", "input", "parameters", "params", "kwargs", "tool_input", "data"})
        for (const char* string : {"true", "false"})
            EXPECT_EQ(read(parameter(name, object, string), two), meant) << name;
    EXPECT_EQ(read(parameter("anything", object, "false"), two), meant);
    EXPECT_EQ(read(parameter("arguments", R"({"arguments": {"path": "a", "n": "5"}})", "false"), two), meant);
    EXPECT_EQ(read(parameter("arguments", json_string(object), "false"), two), meant);
    EXPECT_EQ(read(parameter("arguments", "{\"path\": \"a\", \"n\": 5", "true"), two), meant);
    EXPECT_EQ(read(parameter("path", "b", "true") + parameter("arguments", object, "true"), two),
              "f{\"path\": \"b\", \"n\": 5}");
    // No wrapper: a parameter of the tool, and one that nobody knows.
    EXPECT_EQ(read(parameter("other", "{\"x\": 1}", "false"), two), "f{\"other\": {\"x\": 1}}");
    EXPECT_EQ(read(parameter("arguments", "what?", "true"), two), "|f what?");
    const auto own = tool(R"({"type": "object", "properties": {"arguments": {"type": "object"}}})");
    EXPECT_EQ(read(parameter("arguments", object, "false"), own), "f{\"arguments\": " + object + "}");
    const auto free = tool(R"({"type": "object"})");
    EXPECT_EQ(read(parameter("input", object, "false"), free), "f{\"input\": " + object + "}");
}

TEST(CallArguments, ABodyIsReadIfTheToolCanUseIt) {
    const auto shell = tool(R"({"type": "object", "required": ["command"], "properties":
        {"command": {"type": "string"}, "timeout": {"type": "integer"}}})");
    for (const char* body :
         {"ls -l", "\"ls -l\"", R"({"command": "ls -l"})", R"({"arguments": {"command": "ls -l"}})",
          R"({"input": "ls -l"})", R"({"name": "f", "arguments": {"command": "ls -l"}})",
          "```json\n{\"command\": \"ls -l\"}\n```", "Now I run it: {\"command\": \"ls -l\"}"})
        EXPECT_EQ(read(body, shell), R"(f{"command": "ls -l"})") << body;
    EXPECT_EQ(read("{\"command\": \"ls\"}" + parameter("timeout", "5", "true"), shell),
              R"(f{"command": "ls", "timeout": 5})");
    EXPECT_EQ(read("First:\n" + parameter("command", "ls", "true") + "\nthat", shell),
              R"(f{"command": "ls"})");
    EXPECT_EQ(read("", shell), "|f");
    const auto count = tool(R"({"type": "object", "properties": {"n": {"type": "integer"}}})");
    EXPECT_EQ(read("5", count), "f{\"n\": 5}");
    EXPECT_EQ(read("five", count), "|f five");
    EXPECT_EQ(read("", count), "f{}");
    const auto two =
        tool(R"({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})");
    EXPECT_EQ(read("x", two), "|f x");
    EXPECT_EQ(read("", two), "f{}");
    EXPECT_EQ(read("Let me see.", tool(R"({"type": "object", "properties": {}})")), "f{}");
    EXPECT_EQ(read("{\"x\": 1}", tool(R"({"type": "object"})")), "f{\"x\": 1}");
    // Without a schema an object is all that can be read.
    EXPECT_EQ(read("{\"x\": 1}", nullptr), "f{\"x\": 1}");
    EXPECT_EQ(read("ls", nullptr), "|f ls");
    EXPECT_EQ(read("", nullptr), "f{}");
}

TEST(CallArguments, NamesOfTheToolAreFound) {
    Conversation conversation;
    conversation.tools =
        ordered_json::parse(R"([{"name": "get_weather"}, {"name": "get-time"}, {"name": "getTime"}, {}, 5])");
    const ToolSchemas tools(conversation);
    for (const char* name :
         {"get_weather", "Get-Weather", "getWeather", "functions.get_weather", "tools:get weather"})
        ASSERT_TRUE(tools.find(name) && tools.find(name)->name() == "get_weather") << name;
    EXPECT_EQ(tools.find("getTime")->name(), "getTime");
    EXPECT_EQ(tools.find("get_time"), nullptr);  // of two it could be
    EXPECT_EQ(tools.find("weather"), nullptr);
}

TEST(CallArguments, WhatIsNotOfferedIsText) {
    const std::string inside = parameter("a", "x", "true");
    EXPECT_EQ(read(inside, tool("{}")), "f{\"a\": \"x\"}");
    EXPECT_EQ(read(inside, tool("{}", false)), "|f {\"a\": \"x\"}");
    EXPECT_EQ(read(inside, std::make_shared<const ToolSchemas>(Conversation())), "|f {\"a\": \"x\"}");
}

std::shared_ptr<const ToolSchemas> shell() {
    return tool(R"({"type": "object", "required": ["command"], "properties":
        {"command": {"type": "string"}, "timeout": {"type": "integer"}}})");
}

// Whatever is run as it stands has to be what was meant: broken JSON and tags never are.
const std::string kBroken[] = {R"({"command": "a" "b"})",
                               R"({"command": "ls"} trailing)",
                               R"({"command": "ls", "x": })",
                               R"({"command": "ls"}{"command": "pwd"})",
                               "{\"command\": \"ls\"}\n{\"command\": \"pwd\"}",
                               R"({"command": "echo "hi""})",
                               R"({"command": "echo "hi"", "timeout": 5})",
                               R"({"command": NaN})",
                               R"({"command": 1e400})",
                               R"({"command": "C:\dir"})",
                               R"({"command": "ls" // c})",
                               R"(["ls"])",
                               R"(["{\"command\": \"ls\"}"])",
                               R"({"arguments": {"command": "a" "b"}})",
                               R"({"arguments": ["ls"]})",
                               R"({"command": "ls", "timeout": "a"b"})",
                               R"({ "command" = "ls" })",
                               R"({'command': 'it's'})",
                               R"({"command" "ls"})",
                               R"({{"command": "ls"}})",
                               R"({\"command\": \"ls\"})",
                               "[1, 2",
                               "[[\"a\"",
                               "[",

                               R"("[\"ls\"]")",
                               "```json\n{\"command\": \"a\" \"b\"}\n```",
                               "```json\n{\"command\": ls}",
                               "<command>ls</command>",
                               "</b>",
                               "<b",
                               "<a href='x'>",
                               "<?xml version='1.0'?>"};

TEST(CallArguments, BrokenStructureIsNeverABareValue) {
    const auto one = tool(R"({"type": "object", "properties": {"command": {"type": "string"}}})");
    for (const std::string& text : kBroken) {
        for (const auto& tools : {one, shell()}) {
            EXPECT_EQ(read_arguments(text, tools->find("f")), std::nullopt) << text;
            EXPECT_EQ(arguments_of_history(text, tools->find("f")), std::nullopt) << text;
            const std::string result = read(text, tools);
            EXPECT_TRUE(result.starts_with("|f ")) << text << "\n" << result;
        }
        // Nor within a wrapper that the tool does not have.
        const std::string wrapped = read(parameter("arguments", text, "true"), shell());
        EXPECT_TRUE(wrapped.starts_with("|f ")) << text << "\n" << wrapped;
    }
    for (const char* text : {"null", "None", R"({"arguments": null})", R"({"input": ""})"}) {
        EXPECT_TRUE(read(text, shell()).starts_with("|f")) << text;
        EXPECT_EQ(read(parameter("arguments", text, "true"), shell()).substr(0, 2), "|f") << text;
    }
}

TEST(CallArguments, WhatOnlyLooksAlikeIsABareValue) {
    for (const char* text : {"[ -f x ] && ls", "[[ -f x ]] && ls", "{ echo a; }", "{ ./run; }", "<in sort",
                             "<in.txt sort >out", "<<EOF cat", "[draft] note", "curl -d '{\"a\": 1}' x",
                             "echo \"[1]\"", "\"/a b/c\" d", "nullify", "a <b> c"})
        EXPECT_EQ(read(text, shell()), "f{\"command\": " + json_string(text) + "}") << text;
}

TEST(CallArguments, StructureIsReadWhereItIsWanted) {
    const std::string ls = R"(f{"command": "ls"})";
    EXPECT_EQ(read(R"({command: "ls"})", shell()), ls);
    EXPECT_EQ(read(R"([{"command": "ls"}])", shell()), ls);
    EXPECT_EQ(read(R"({ command : 'ls', timeout: 5})", shell()), R"(f{"command": "ls", "timeout": 5})");
    const auto list = tool(R"({"type": "object", "properties": {"a": {"type": ["string", "array"]}}})");
    EXPECT_EQ(read("[\"ls\"]", list), R"(f{"a": ["ls"]})");
    EXPECT_EQ(read("[\"ls\", {b", list), R"(|f ["ls", {b)");
    EXPECT_EQ(read("ls", list), R"(f{"a": "ls"})");
}

TEST(CallArguments, AParameterMayHoldTheArgumentsUnderItsOwnName) {
    const std::string ls = R"(f{"command": "ls"})", object = R"({"command": "ls"})";
    for (const char* string : {"true", "false"}) {
        EXPECT_EQ(read(parameter("command", object, string), shell()), ls);
        EXPECT_EQ(read(parameter("command", "\n  " + object + "\n", string), shell()), ls);
        EXPECT_EQ(read(parameter("command", R"({"command": "{\"command\": \"ls\"}"})", string), shell()), ls);
        EXPECT_EQ(read(parameter("command", R"({"timeout": 5, "command": "ls"})", string), shell()),
                  R"(f{"timeout": 5, "command": "ls"})");
        for (const char* other : {R"({"command": "ls", "x": 1})", R"({"timeout": 5})", R"({"command": 5})",
                                  "{}", R"({"command")", R"([{"command": "ls"}])", R"({"commands": "ls"})"})
            EXPECT_EQ(read(parameter("command", other, string), shell()),
                      "f{\"command\": " + json_string(other) + "}");
    }
    EXPECT_EQ(read(R"({"command": "{\"command\": \"ls\"}"})", shell()), ls);
    const std::string both = R"({"path": "a", "content": "b"})";
    const auto two = tool(R"({"type": "object", "required": ["path", "content"], "properties":
        {"path": {"type": "string"}, "content": {"type": "string"}}})");
    EXPECT_EQ(read(parameter("path", both, "true"), two), "f" + both);
    EXPECT_EQ(read(parameter("path", "c", "true") + parameter("content", both, "true"), two),
              "f{\"path\": \"c\", \"content\": " + json_string(both) + "}");
    EXPECT_EQ(read(parameter("content", R"({"content": "b"})", "true") + parameter("path", "c", "true"), two),
              R"(f{"content": "{\"content\": \"b\"}", "path": "c"})");
}

TEST(CallArguments, TagsOfParametersThatAreNotClosed) {
    const std::string start = "<｜DSML｜parameter name=\"command\" string=\"true\"",
                      end = "</｜DSML｜parameter>";
    for (const std::string value :
         {" value=\"ls\">", " value='ls'>", " value=\"ls\">\n", " value=\"ls\" >", "ls"})
        EXPECT_EQ(read(start + value + end, shell()), R"(f{"command": "ls"})") << value;
    EXPECT_EQ(read(start + " value=\"x\">ls" + end, shell()), R"(f{"command": "ls"})");
    EXPECT_EQ(read(start + " value=\"ls\"/>", shell()), R"(f{"command": "ls"})");
    // What cannot be told from the tag is not run.
    EXPECT_TRUE(read(start + " rm -r x" + end, shell()).starts_with("|f"));
    EXPECT_TRUE(read("<｜DSML｜parameter command rm -r x" + end, shell()).starts_with("|f"));
}

TEST(CallArguments, CallsInOtherShapes) {
    const std::string ls = R"(f{"command": "ls"})";
    const std::string value = parameter("command", "ls", "true"), end = "\n</｜DSML｜invoke>";
    const auto calls = [](const std::string& inside) {
        const Completion result =
            parse_completion("<｜DSML｜tool_calls>\n" + inside + "\n</｜DSML｜tool_calls>", false, shell());
        std::string all;
        for (const ParsedToolCall& call : result.tool_calls) all += call.name + call.arguments;
        return result.content.empty() ? all : all + "|" + result.content;
    };
    // A head that closes itself though it does not.
    for (const char* head :
         {"<｜DSML｜invoke name=\"f\"/>", "<｜DSML｜invoke name=\"f\" />", "<invoke name=\"f\"/>"}) {
        EXPECT_EQ(calls(head + ("\n" + value) + end), ls) << head;
        EXPECT_EQ(calls(head + value + end + head + value + end), ls + ls) << head;
    }
    EXPECT_EQ(
        calls("<｜DSML｜invoke name=\"f\" command=\"ls\"/>\n<｜DSML｜invoke name=\"f\" command=\"ls\"/>"),
        ls + ls);
    // Without the sentinel, within a block.
    EXPECT_EQ(calls("<invoke functions.f>\n" + value + end), ls);
    EXPECT_EQ(calls("<invoke>\n" + value + end).find('<'), std::string::npos);
    // JSON, one after the other.
    const std::string json = R"({"name": "f", "arguments": {"command": "ls"}})";
    for (const char* between : {"\n", "\n\n", ",\n", " ", ""})
        EXPECT_EQ(calls(json + between + json), ls + ls);
    EXPECT_EQ(calls("[" + json + ", " + json + "]"), ls + ls);
    EXPECT_EQ(calls("```json\n" + json + "\n" + json + "\n```"), ls + ls);
    EXPECT_EQ(calls(json + "\nand"), "|" + json + "\nand");
}

TEST(CallArguments, WhatIsGivenBackHasNoMarks) {
    for (const char* mark :
         {"</think>", "<think>", "<｜User｜>", "<｜DSML｜foo>", "</｜DSML｜invoke>", "</thi<think>nk>"}) {
        EXPECT_EQ(read(parameter("a", std::string("1") + mark + "2", "true"), tool("{}", false)),
                  "|f {\"a\": \"12\"}")
            << mark;
        const std::string call = "<｜DSML｜invoke name=\"g" + std::string(mark) + "\">\n" +
                                 parameter("a", "1", "true") + "\n</｜DSML｜invoke>";
        EXPECT_EQ(parse_completion(call, false, shell()).content, "g {\"a\": \"1\"}") << mark;
    }
}

// What is sent while the text comes is never more than is certain.
TEST(CallArguments, OnlyWhatIsCertainStreams) {
    const auto tools = tool(R"({"type": "object", "required": ["s"], "properties":
        {"s": {"type": "string"}, "n": {"type": "integer"}}})");
    CompletionParser parser(false, tools);
    const auto fed = [&](const std::string& text) {
        std::string sent;
        for (const CompletionEvent& event : parser.feed(text)) sent += event.text;
        return sent;
    };
    EXPECT_EQ(fed("<｜DSML｜invoke name=\"f\">\n"), "");  // it may come to nothing
    EXPECT_EQ(fed("<｜DSML｜parameter name=\"n\" string=\"true\">1"), "");
    EXPECT_EQ(fed("2</｜DSML｜parameter>"), "f{\"n\": 12");
    EXPECT_EQ(fed("<｜DSML｜parameter name=\"s\" string=\"true\">a b"), ", \"s\": \"a b");
    EXPECT_EQ(fed("c</｜DSML｜parameter>"), "c\"");
    EXPECT_EQ(fed("</｜DSML｜invoke>"), "}");
}

}  // namespace
}  // namespace cachalot
