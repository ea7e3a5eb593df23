// What is refused of tools: names that no prompt can hold, parameters that are no schema.
#include "text/tool_check.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/chat.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;

std::string problem_of(const std::string& parameters) {
    try {
        check_parameters(ordered_json::parse(parameters), "p", "f");
    } catch (const Error& e) {
        return e.what();
    }
    return {};
}

TEST(ToolCheck, NamesThatAPromptCanHold) {
    for (const char* name : {"f", "get_weather", "a.b/c:d-e", "mcp__x", "$web_search", "naïve name", "天气"})
        EXPECT_EQ(problem_of_name(name), "") << name;
    for (const char* name : {"", "a\"b", "a'b", "a`b", "a<b", "a>b", "<｜DSML｜invoke", "a｜b", "a\nb",
                             "a\rb", "a\tb", "a\x7f", "a\u0085b", "a\u2028b", "a\u2029b", "\x1b[31m"})
        EXPECT_NE(problem_of_name(name), "") << name;
    EXPECT_NE(problem_of_name(std::string_view("a\0b", 3)), "");
}

TEST(ToolCheck, SchemasThatClientsSend) {
    for (const char* schema :
         {"{}", R"({"type": "object"})", R"({"type": ["object", "null"], "properties": {}})",
          R"({"type": "object", "properties": {"type": {"type": "string"}, "required": {}, "enum": true}})",
          R"({"properties": {"a": {"enum": [1, null, "x"], "default": 7, "const": []}}, "required": ["a"]})",
          R"({"properties": {"a": {"items": {"type": "integer"}}, "b": {"items": [{}, {}]}, "c": null}})",
          R"({"additionalProperties": false, "anyOf": [{"not": {}}], "$defs": {"x": {"$ref": "#"}}})",
          R"({"type": null, "properties": null, "required": null, "description": null})",
          R"({"type": "objekt", "x-vendor": 7, "examples": 1, "minimum": "0"})"})
        EXPECT_EQ(problem_of(schema), "") << schema;
}

TEST(ToolCheck, WrongTypesAreNamedWithTheirPlaceAndTool) {
    const std::pair<const char*, const char*> cases[] = {
        {"[]", "p"},
        {R"({"type": 7})", "p.type"},
        {R"({"type": ["object", 7]})", "p.type[1]"},
        {R"({"type": {}})", "p.type"},
        {R"({"properties": []})", "p.properties"},
        {R"({"properties": {"a": "string"}})", "p.properties.a"},
        {R"({"properties": {"a": {"type": true}}})", "p.properties.a.type"},
        {R"({"properties": {"a": {"description": ["x"]}}})", "p.properties.a.description"},
        {R"({"required": "a"})", "p.required"},
        {R"({"required": [1]})", "p.required[0]"},
        {R"({"properties": {"a": {"required": true}}})", "p.properties.a.required"},
        {R"({"properties": {"a": {"enum": "x"}}})", "p.properties.a.enum"},
        {R"({"properties": {"a": {"items": "string"}}})", "p.properties.a.items"},
        {R"({"properties": {"a": {"items": [{}, 1]}}})", "p.properties.a.items[1]"},
        {R"({"anyOf": {}})", "p.anyOf"},
        {R"({"anyOf": [{"type": 1}]})", "p.anyOf[0].type"},
        {R"({"additionalProperties": "no"})", "p.additionalProperties"},
        {R"({"$defs": {"x": {"properties": 1}}})", "p.$defs.x.properties"},
    };
    for (const auto& [schema, path] : cases) {
        const std::string problem = problem_of(schema);
        EXPECT_EQ(problem.substr(0, problem.find(": ")), path) << schema;
        EXPECT_TRUE(problem.ends_with("in the tool 'f'")) << problem;
    }
}

// What the command line reads, and chat's messages.
TEST(ToolCheck, ConversationsAreChecked) {
    const auto refused = [](const char* text) {
        try {
            conversation_from_json(ordered_json::parse(text));
        } catch (const Error& e) {
            return std::string(e.what()).substr(0, std::string(e.what()).find(": "));
        }
        return std::string();
    };
    EXPECT_EQ(refused(R"({"messages": [{"role": "user"}], "tools": [{"function": {"name": "f", "parameters":
                  {"type": 7}}}]})"),
              "tools[0].function.parameters.type");
    EXPECT_EQ(refused(R"({"messages": [{"role": "user"}], "tools": [{"function": {"name": "a\"b"}}]})"),
              "tools[0].function.name");
    EXPECT_EQ(
        refused(
            R"([{"role": "system", "tools": [{"function": {"name": "f", "parameters": {"required": "a"}}}]}])"),
        "messages[0].tools[0].function.parameters.required");
    EXPECT_EQ(
        refused(
            R"([{"role": "user"}, {"role": "assistant", "tool_calls": [{"function": {"name": "a<b"}}]}])"),
        "messages[1].tool_calls[0].function.name");
    EXPECT_EQ(refused(R"([{"role": "assistant", "tool_calls": [{"custom": {"name": "", "input": ""}}]}])"),
              "messages[0].tool_calls[0].custom.name");
}

}  // namespace
}  // namespace cachalot
