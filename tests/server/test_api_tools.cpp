// Tools in the forms of their clients: what the model is told.
#include "server/tools_test.h"

namespace cachalot::server::tools_test {
namespace {

std::vector<std::string> tool_names(const Request& request) {
    std::vector<std::string> names;
    for (const auto& tool : request.conversation.tools) names.push_back(tool["name"]);
    return names;
}
using Names = std::vector<std::string>;

TEST(ApiTools, CustomToolsAreFunctionsOfOneString) {
    const auto expected =
        ordered_json::parse(R"({"name": "apply_patch", "description": "Edits", "parameters": {
        "type": "object", "properties": {"input": {"type": "string", "description": "The input as it is."}},
        "required": ["input"]}})");
    EXPECT_EQ(responses(R"({"tools": [{"type": "custom", "name": "apply_patch", "description": "Edits"}]})")
                  .conversation.tools.at(0),
              expected);
    EXPECT_EQ(
        chat(R"({"tools": [{"type": "custom", "custom": {"name": "apply_patch", "description": "Edits"}}]})")
            .request.conversation.tools.at(0),
        expected);
    // A grammar is told, if not enforced.
    for (const auto& tools : {responses(R"({"tools": [{"type": "custom", "name": "c",
                        "format": {"type": "grammar", "syntax": "lark", "definition": "start: A"}}]})")
                                  .conversation.tools,
                              chat(R"({"tools": [{"type": "custom", "custom": {"name": "c",
                   "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: A"}}}}]})")
                                  .request.conversation.tools})
        EXPECT_EQ(tools.at(0)["description"], "The input follows this lark grammar:\nstart: A");
}

TEST(ApiTools, NamespacesAreFlattened) {
    const auto request = responses(R"({"tools": [
        {"type": "function", "name": "lookup"},
        {"type": "namespace", "name": "mcp__notes", "description": "Notes", "tools": [
            {"type": "function", "name": "lookup", "description": "Finds", "parameters": {"type": "object"}},
            {"type": "custom", "name": "edit"}]},
        {"type": "namespace", "name": "agents__", "tools": [{"type": "function", "name": "spawn"}]},
        {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b__c"}]},
        {"type": "namespace", "name": "a__b", "tools": [{"type": "function", "name": "c"}]}]})");
    EXPECT_EQ(tool_names(request), (Names{"lookup", "mcp__notes__lookup", "mcp__notes__edit", "agents__spawn",
                                          "a__b__c", "a__b__c_2"}));
    EXPECT_EQ(request.conversation.tools[1]["description"],
              "Finds\n\nTools whose names begin with mcp__notes: Notes");
}

TEST(ApiTools, AnthropicsOwnToolsHaveTheirPublishedParameters) {
    const auto parameters = [](const char* type) {
        ordered_json body = {{"max_tokens", 5}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
        body["tools"] = {{{"type", type}, {"name", "the_tool"}}};
        const auto tools =
            read_anthropic_request(body, FakeService().info(), false).request.conversation.tools;
        EXPECT_EQ(tools.at(0)["name"], "the_tool");
        Names names;
        for (const auto& [name, schema] : tools.at(0)["parameters"]["properties"].items())
            names.push_back(name);
        return names;
    };
    EXPECT_EQ(parameters("bash_20241022"), (Names{"command", "restart"}));
    EXPECT_EQ(parameters("bash_20250124"), (Names{"command", "restart"}));
    const Names old = {"command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"};
    EXPECT_EQ(parameters("text_editor_20241022"), old);
    EXPECT_EQ(parameters("text_editor_20250124"), old);
    const Names editor = {"command", "path",        "file_text",   "old_str",
                          "new_str", "insert_line", "insert_text", "view_range"};
    EXPECT_EQ(parameters("text_editor_20250429"), editor);
    EXPECT_EQ(parameters("text_editor_20250728"), editor);
    EXPECT_EQ(parameters("memory_20250818"),
              (Names{"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text",
                     "old_path", "new_path", "view_range"}));
}

TEST(ApiTools, AChoiceFindsTheToolOrIsRefused) {
    const char* tools =
        R"("tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}, {"type": "web_search"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}])";
    const auto choice = [&](const char* json) {
        return responses(fmt::format(R"({{{}, "tool_choice": {}}})", tools, json));
    };
    EXPECT_EQ(choice(R"({"type": "custom", "name": "c"})").named_tool, "c");
    EXPECT_EQ(choice(R"({"type": "function", "name": "f", "namespace": "n"})").named_tool, "n__f");
    EXPECT_EQ(choice(R"({"type": "function", "name": "f"})").named_tool, "f");
    EXPECT_THROW(choice(R"({"type": "mcp", "server_label": "s"})"), ApiError);
    const auto allowed = choice(R"({"type": "allowed_tools", "mode": "required",
        "tools": [{"type": "custom", "name": "c"}, {"type": "web_search"}, {"type": "namespace", "name": "n"}]})");
    EXPECT_EQ(tool_names(allowed), (Names{"c", "n__f"}));
    EXPECT_EQ(allowed.tool_choice, ToolChoice::required);

    const char* chat_tools = R"("tools": [{"type": "function", "function": {"name": "f"}},
        {"type": "custom", "custom": {"name": "c"}}, {"type": "web_search"}])";
    const auto chat_choice = [&](const char* json) {
        return chat(fmt::format(R"({{{}, "tool_choice": {}}})", chat_tools, json)).request;
    };
    EXPECT_EQ(chat_choice(R"({"type": "custom", "custom": {"name": "c"}})").named_tool, "c");
    EXPECT_EQ(tool_names(chat_choice(R"({"type": "allowed_tools", "allowed_tools": {"mode": "auto",
                             "tools": [{"type": "function", "function": {"name": "f"}}]}})")),
              Names{"f"});
    EXPECT_THROW(chat_choice(R"({"type": "web_search"})"), ApiError);
    EXPECT_THROW(chat_choice(R"({"type": "function", "function": {"name": "web_search"}})"), ApiError);
}

// Where a name of a tool may be: its path in a refusal, and a body of each dialect with NAME in that place.

// clang-format off
const NamePlace kChatNames[] = {
    {"tools[0].function.name", R"({"tools": [{"type": "function", "function": {"name": NAME}}]})"},
    {"tools[0].function.name", R"({"tools": [{"function": {"name": NAME}}]})"},
    {"tools[0].custom.name", R"({"tools": [{"type": "custom", "custom": {"name": NAME}}]})"},
    {"tool_choice.function.name", R"({"tool_choice": {"type": "function", "function": {"name": NAME}}})"},
    {"tool_choice.custom.name", R"({"tool_choice": {"type": "custom", "custom": {"name": NAME}}})"},
    {"messages[0].tools[0].function.name", R"({"messages": [{"role": "system", "content": "", "tools": [{"type": "function", "function": {"name": NAME}}]}]})"},
};
const NamePlace kResponsesNames[] = {
    {"tools[0].name", R"({"tools": [{"type": "function", "name": NAME}]})"},
    {"tools[0].name", R"({"tools": [{"type": "custom", "name": NAME}]})"},
    {"tools[0].name", R"({"tools": [{"type": "namespace", "name": NAME, "tools": []}]})"},
    {"tools[0].tools[0].name", R"({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": NAME}]}]})"},
};
const NamePlace kAnthropicNames[] = {
    {"tools[0].name", R"({"tools": [{"name": NAME, "input_schema": {}}]})"},
    {"tools[0].name", R"({"tools": [{"type": "bash_20250124", "name": NAME}]})"},
    {"tools[0].name", R"({"tools": [{"type": "function", "name": NAME}]})"},
    {"tools[0].function.name", R"({"tools": [{"type": "function", "function": {"name": NAME}}]})"},
};
// clang-format on

TEST(ApiTools, NamesAreThoseThatThePromptCanHold) {
    const std::vector<std::string> bad = {"my\"tool",
                                          "a\nb",
                                          "a\">\n<b",
                                          "two words",
                                          "",
                                          "a<b",
                                          "a>b",
                                          "\xc3\xa9t\xc3\xa9",
                                          "\t",
                                          std::string(257, 'a'),
                                          "a\\b",
                                          "a'b",
                                          "f()",
                                          "a|b",
                                          "a&b",
                                          "\x7f",
                                          std::string(2000, 'x'),
                                          std::string("a\0b", 3)};
    const std::vector<std::string> good = {"f", "mcp__a-b.c:d/e", "9", std::string(256, 'Z')};
    const auto check = [&](const auto& places, auto read) {
        for (const NamePlace& place : places) {
            const auto reading = [&, read](const std::string& name) {
                return refused_field(
                    [&] { read(replaced(place.members, "NAME", ordered_json(name).dump())); });
            };
            for (const auto& name : bad) EXPECT_EQ(reading(name), place.path) << place.members << name;
            for (const auto& name : good) EXPECT_EQ(reading(name), "") << place.members << name;
        }
    };
    check(kChatNames, chat);
    check(kResponsesNames, responses);
    check(kAnthropicNames, anthropic);
}

TEST(ApiTools, NoneVanishes) {
    // clang-format off
    const char* const chat_types[] = {"local_shell", "shell", "apply_patch", "computer_use_preview", "namespace",
        "bash_20250124", "text_editor_20250728", "Function", "Custom", "functions", "", "web search", "searching"};
    const char* const responses_types[] = {"bash_20250124", "local_shell", "computer", "Function", "custom_tool", "tool"};
    const char* const anthropic_types[] = {"Custom", "Function", "local_shell", "namespace", "apply_patch", "tool", "websearch"};
    // clang-format on
    const auto refused = [](const char* type, auto read) {
        return refused_field([&] {
            read(fmt::format(R"({{"tools": [{{"type": "{}", "name": "t", "input_schema": {{}},
                "tools": [{{"type": "function", "function": {{"name": "f"}}}}]}}]}})",
                             type));
        });
    };
    for (const char* type : chat_types) EXPECT_EQ(refused(type, chat), "tools[0].type") << type;
    for (const char* type : responses_types) EXPECT_EQ(refused(type, responses), "tools[0].type") << type;
    for (const char* type : anthropic_types) EXPECT_EQ(refused(type, anthropic), "tools[0].type") << type;
    const std::string client_search = R"({"tools": [{"type": "tool_search", "execution": "client"}]})";
    EXPECT_EQ(refused_field([&] { responses(client_search); }), "tools[0].type");
    EXPECT_EQ(refused_field([&] { chat(client_search); }), "tools[0].type");
    EXPECT_EQ(refused_field([&] {
                  chat(R"({"messages": [{"role": "system", "content": "", "tools": [{"type": "shell"}]}]})");
              }),
              "messages[0].tools[0].type");
    // What runs at a provider is left out.
    for (const char* type :
         {"web_search", "web_search_preview_2025_03_11", "web_search_20250305", "web_fetch_20250910",
          "code_interpreter", "code_execution_20250825", "image_generation", "file_search", "mcp",
          "mcp_toolset", "tool_search", "tool_search_tool_regex_20251119", "openrouter:web_search"}) {
        EXPECT_EQ(refused(type, chat), "") << type;
        EXPECT_EQ(refused(type, responses), "") << type;
        EXPECT_EQ(refused(type, anthropic), "") << type;
    }
}

TEST(ApiTools, SchemasAreReadUnderTheNamesOfAllDialects) {
    const ordered_json schema = {{"type", "object"}, {"properties", {{"a", {{"type", "string"}}}}}};
    for (const char* name : {"parameters", "input_schema", "inputSchema"}) {
        const auto members = fmt::format(R"("name": "f", "description": "d", "{}": {})", name, schema.dump());
        const auto flat = fmt::format(R"({{"tools": [{{"type": "function", {}}}]}})", members);
        const auto nested =
            fmt::format(R"({{"tools": [{{"type": "function", "function": {{{}}}}}]}})", members);
        for (const auto& request :
             {chat(nested).request, responses(flat), anthropic(flat), anthropic(nested)}) {
            ASSERT_EQ(request.conversation.tools.size(), 1u);
            EXPECT_EQ(request.conversation.tools[0],
                      (ordered_json{{"name", "f"}, {"description", "d"}, {"parameters", schema}}))
                << name;
        }
    }
}

TEST(ApiTools, ChoicesOfAModeMayBeObjects) {
    const char* tools = R"("tools": [{"type": "function", "name": "f"}])";
    const auto choice = [&](const char* type) {
        return responses(fmt::format(R"({{{}, "tool_choice": {{"type": "{}"}}}})", tools, type)).tool_choice;
    };
    EXPECT_EQ(choice("none"), ToolChoice::none);
    EXPECT_EQ(choice("auto"), ToolChoice::automatic);
    EXPECT_EQ(choice("required"), ToolChoice::required);
    EXPECT_EQ(refused_field([] { responses(R"({"tool_choice": {"type": "required"}})"); }),
              "tool_choice.type");
}

}  // namespace
}  // namespace cachalot::server::tools_test
