// What is refused of tools in every dialect: parameters that are no schema, names of calls that no prompt can
// hold.
#include "server/tools_test.h"

namespace cachalot::server::tools_test {
namespace {

struct Dialects {
    std::function<void(const std::string&)> read;
    std::vector<NamePlace> places;
};

std::string problem_of(const std::function<void()>& read) {
    try {
        read();
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status, 400);
        return error.what();
    }
    return {};
}

void read_chat(const std::string& members) { chat(members); }

// clang-format off
const Dialects kParameters[] = {
    {read_chat, {
        {"tools[0].function.parameters", R"({"tools": [{"type": "function", "function": {"name": "look", "parameters": VALUE}}]})"},
        {"tools[0].function.input_schema", R"({"tools": [{"function": {"name": "look", "input_schema": VALUE}}]})"},
        {"messages[0].tools[0].function.parameters", R"({"messages": [{"role": "system", "content": "", "tools": [
            {"type": "function", "function": {"name": "look", "parameters": VALUE}}]}, {"role": "user", "content": "x"}]})"}}},
    {responses, {
        {"tools[0].parameters", R"({"tools": [{"type": "function", "name": "look", "parameters": VALUE}]})"},
        {"tools[0].tools[0].parameters", R"({"tools": [{"type": "namespace", "name": "n", "tools": [
            {"type": "function", "name": "look", "parameters": VALUE}]}]})"}}},
    {anthropic, {
        {"tools[0].input_schema", R"({"tools": [{"name": "look", "input_schema": VALUE}]})"},
        {"tools[0].function.parameters", R"({"tools": [{"type": "function", "function": {"name": "look", "parameters": VALUE}}]})"}}},
};
const NamePlace kWrong[] = {
    {".type", R"({"type": 7})"},
    {".properties", R"({"type": "object", "properties": ["a"]})"},
    {".properties.a", R"({"properties": {"a": "string"}})"},
    {".properties.a.type", R"({"properties": {"a": {"type": {}}}})"},
    {".required", R"({"required": "a"})"},
    {".required[1]", R"({"required": ["a", 1]})"},
    {".properties.a.enum", R"({"properties": {"a": {"enum": "x"}}})"},
    {".properties.a.items", R"({"properties": {"a": {"type": "array", "items": 3}}})"},
    {".anyOf", R"({"anyOf": {"type": "object"}})"},
    {"", R"(["a"])"},
    {"", R"("object")"},
};
const Dialects kCalls[] = {
    {read_chat, {
        {"messages[1].tool_calls[0].function.name", R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": VALUE, "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "r"}]})"},
        {"messages[1].tool_calls[0].custom.name", R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [
            {"id": "c", "type": "custom", "custom": {"name": VALUE, "input": "i"}}]}, {"role": "tool", "tool_call_id": "c", "content": "r"}]})"}}},
    {responses, {
        {"input[1].name", R"({"input": [{"role": "user", "content": "x"}, {"type": "function_call", "call_id": "c", "name": VALUE, "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"}]})"},
        {"input[0].name", R"({"input": [{"type": "custom_tool_call", "call_id": "c", "name": VALUE, "input": ""}, {"role": "user", "content": "x"}]})"}}},
    {anthropic, {
        {"messages[1].content[0].name", R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c", "name": VALUE, "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]}]})"}}},
};
// clang-format on

TEST(ApiToolChecks, ParametersOfWrongTypesNameTheToolAndTheField) {
    for (const auto& dialect : kParameters)
        for (const NamePlace& place : dialect.places) {
            const auto& read = dialect.read;
            for (const auto& [field, schema] : kWrong) {
                const auto body = replaced(place.members, "VALUE", schema);
                const auto path = std::string(place.path) + field;
                EXPECT_EQ(refused_field([&] { read(body); }), path) << body;
                // What is no object at all is named by its place alone.
                if (*field != '\0') {
                    EXPECT_NE(problem_of([&] { read(body); }).find("'look'"), std::string::npos) << body;
                }
            }
            for (const char* good : {"{}", R"({"type": ["object"], "properties": {"type": {"enum": [1]}}})"})
                EXPECT_EQ(refused_field([&] { read(replaced(place.members, "VALUE", good)); }), "")
                    << place.members;
        }
}

TEST(ApiToolChecks, NamesOfCallsAreThoseThatThePromptCanHold) {
    const std::string bad[] = {"",     "a\"b",   "a'b",     "a<b",     "a>b",  "<｜DSML｜invoke",     "a｜b",
                               "a\nb", "a\r\nb", "a\u2028", "\x1b[0m", "\x7f", std::string("a\0b", 3)};
    // Other services have other rules, and the model may have misspelt one.
    const std::string good[] = {"f",   "mcp__a-b.c:d/e",     "$web_search", "two words",
                                "été", std::string(300, 'a')};
    for (const auto& dialect : kCalls)
        for (const NamePlace& place : dialect.places) {
            const auto& read = dialect.read;
            const auto field = [&](const std::string& name) {
                return refused_field(
                    [&] { read(replaced(place.members, "VALUE", ordered_json(name).dump())); });
            };
            for (const auto& name : bad) EXPECT_EQ(field(name), place.path) << place.members << name;
            for (const auto& name : good) EXPECT_EQ(field(name), "") << place.members << name;
        }
    const auto group = [](const std::string& name) {
        return refused_field([&] {
            responses(fmt::format(R"({{"input": [{{"type": "function_call", "call_id": "c", "name": "f",
                "namespace": {}}}, {{"role": "user", "content": "x"}}]}})",
                                  ordered_json(name).dump()));
        });
    };
    EXPECT_EQ(group("a\"b"), "input[0].namespace");
    EXPECT_EQ(group(""), "");
    EXPECT_EQ(group("mcp__x"), "");
}

TEST(ApiToolChecks, ASearchForToolsByTheClientIsRefusedWithARemedy) {
    const char* const search = R"({"tools": [{"type": "tool_search", "execution": "client"}]})";
    for (const auto& read : {std::function<void(const std::string&)>(read_chat), {responses}, {anthropic}}) {
        const auto problem = problem_of([&] { read(search); });
        EXPECT_TRUE(problem.starts_with("tools[0].type: 'tool_search'")) << problem;
        EXPECT_NE(problem.find("offer the tools themselves"), std::string::npos) << problem;
    }
}

}  // namespace
}  // namespace cachalot::server::tools_test
