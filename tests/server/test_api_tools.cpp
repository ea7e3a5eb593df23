// Tools in the forms of their clients: what the model is told, and how its calls come back.
#include "server/api/answered_items.h"
#include "server/api/anthropic.h"
#include "server/api/anthropic_read.h"
#include "server/api/custom_input.h"
#include "server/api/openai.h"
#include "server/api/openai_parse.h"
#include "server/api/responses.h"
#include "server/api/responses_read.h"
#include "server/fake_service.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> tool_names(const Request& request) {
    std::vector<std::string> names;
    for (const auto& tool : request.conversation.tools) names.push_back(tool["name"]);
    return names;
}
using Names = std::vector<std::string>;

Request responses(const std::string& members) {
    ordered_json body = {{"input", "x"}};
    body.update(ordered_json::parse(members));
    return read_responses_request(body, FakeService().info()).request;
}

openai::ChatRequest chat(const std::string& members) {
    ordered_json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}};
    body.update(ordered_json::parse(members));
    HttpRequest http;
    http.body = body.dump();
    return openai::parse_chat(http, FakeService().info());
}

// --- the input of custom tools

TEST(CustomInput, ComesAsItIsWritten) {
    const std::string texts[] = {
        "", "a", "*** Begin Patch\n+\t\"x\\\\y\"\n", "é 中 🐋 \x01", std::string(3, '\\'), "\"}"};
    for (const auto& text : texts)
        for (const std::string& arguments :
             {python_json({{"input", text}}), ordered_json{{"input", text}}.dump(-1, ' ', true)})
            for (std::size_t step :
                 {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, arguments.size()}) {
                CustomInput input;
                std::string all;
                for (std::size_t at = 0; at < arguments.size(); at += step)
                    all += input.feed(std::string_view(arguments).substr(at, step));
                EXPECT_EQ(all, text) << arguments << " by " << step;
                EXPECT_EQ(all + input.finish(), text);
                EXPECT_EQ(input.text(), text);
            }
}

TEST(CustomInput, IsTheBestOfWhateverWasWritten) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"patch": "p"})", "p"},
        {R"({"x": 1, "input": "i"})", "i"},
        {R"({"input": {"a": 1}})", R"({"a": 1})"},
        {R"({"a": "b", "c": "d"})", R"({"a": "b", "c": "d"})"},
        {"not JSON", "not JSON"},
        {R"({"input": "cut of)", "cut of"},
        {R"({"input": "cut \u00)", "cut "},
        {R"( { "input" : "spaced" } )", "spaced"},
        {"{}", ""},
        {"", ""}};
    for (const auto& [arguments, text] : cases) {
        CustomInput input;
        std::string all;
        for (const char c : std::string_view(arguments)) all += input.feed(std::string_view(&c, 1));
        all += input.finish();
        EXPECT_EQ(all, text) << arguments;
    }
}

// --- what is offered

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
struct NamePlace {
    const char *path, *members;
};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

std::string refused_field(const std::function<void()>& read) {
    try {
        read();
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status, 400);
        EXPECT_TRUE(std::string(error.what()).starts_with(error.param + ": ")) << error.what();
        return error.param;
    }
    return "";
}

Request anthropic(const std::string& members) {
    ordered_json body = {{"max_tokens", 5}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
    body.update(ordered_json::parse(members));
    return read_anthropic_request(body, FakeService().info(), false).request;
}

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

// --- how calls come back

const std::vector<Event> kCall = {call_start(0, "call_1", "apply_patch"),
                                  call_arguments(0, R"({"input": "a\n)"),
                                  call_arguments(0, R"(\"b\""})"),
                                  call_end(0),
                                  finished("tool_calls"),
                                  done()};

TEST(ApiTools, ChatAnswersWithCustomCalls) {
    FakeService service;
    service.events = kCall;
    ordered_json body = ordered_json::parse(R"({"messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "custom", "custom": {"name": "apply_patch"}}]})");
    const auto routes = openai_routes(service);
    const auto whole = ask(routes, "POST", "/v1/chat/completions", body.dump())->json();
    EXPECT_EQ(whole["choices"][0]["message"]["tool_calls"],
              ordered_json::parse(R"([{"id": "call_1", "type": "custom",
                                       "custom": {"name": "apply_patch", "input": "a\n\"b\""}}])"));
    body["stream"] = true;
    const auto stream = ask(routes, "POST", "/v1/chat/completions", body.dump())->body;
    EXPECT_NE(stream.find(R"("type":"custom","custom":{"name":"apply_patch","input":""}})"),
              std::string::npos)
        << stream;
    EXPECT_NE(stream.find(R"({"index":0,"custom":{"input":"a\n"}})"), std::string::npos) << stream;
    EXPECT_NE(stream.find(R"({"index":0,"custom":{"input":"\"b\""}})"), std::string::npos) << stream;

    // Sent back it is the call that the model made.
    const auto again =
        chat(R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [
        {"id": "call_1", "type": "custom", "custom": {"name": "apply_patch", "input": "a\n\"b\""}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]})");
    EXPECT_EQ(again.request.conversation.messages[1].tool_calls[0].arguments, R"({"input": "a\n\"b\""})");
}

TEST(ApiTools, ResponsesAnswerWithCustomCalls) {
    FakeService service;
    service.events = kCall;
    ordered_json body = {{"input", "x"}, {"tools", {{{"type", "custom"}, {"name", "apply_patch"}}}}};
    const auto routes = responses_routes(service);
    const auto whole = ask(routes, "POST", "/v1/responses", body.dump())->json();
    auto item = whole["output"][0];
    EXPECT_TRUE(item["id"].get<std::string>().starts_with("ctc_"));
    item.erase("id");
    EXPECT_EQ(item,
              ordered_json::parse(R"({"type": "custom_tool_call", "status": "completed", "call_id": "call_1",
                                            "name": "apply_patch", "input": "a\n\"b\""})"));
    body["stream"] = true;
    std::string input;
    Names kinds;
    for (const auto& event : read_sse(ask(routes, "POST", "/v1/responses", body.dump())->body)) {
        kinds.push_back(event.name);
        if (event.name == "response.custom_tool_call_input.delta") input += event.data["delta"];
        if (event.name == "response.custom_tool_call_input.done") {
            EXPECT_EQ(event.data["input"], input);
        }
    }
    EXPECT_EQ(input, "a\n\"b\"");
    EXPECT_EQ(kinds, (Names{"response.created", "response.in_progress", "response.output_item.added",
                            "response.custom_tool_call_input.delta", "response.custom_tool_call_input.delta",
                            "response.custom_tool_call_input.done", "response.output_item.done",
                            "response.completed"}));
}

TEST(ApiTools, CallsOfANamespaceHaveNameAndNamespaceApart) {
    FakeService service;
    service.events = {call_start(0, "call_1", "mcp__notes__lookup"),
                      call_arguments(0, "{}"),
                      call_end(0),
                      call_start(1, "call_2", "lookup"),
                      call_arguments(1, "{}"),
                      call_end(1),
                      finished("tool_calls"),
                      done()};
    const std::string tools = R"("tools": [{"type": "function", "name": "lookup"},
        {"type": "namespace", "name": "mcp__notes", "tools": [{"type": "function", "name": "lookup"}]}])";
    const auto output =
        ask(responses_routes(service), "POST", "/v1/responses", R"({"input": "x", )" + tools + "}")
            ->json()["output"];
    EXPECT_EQ(output[0]["name"], "lookup");
    EXPECT_EQ(output[0]["namespace"], "mcp__notes");
    EXPECT_EQ(output[1]["name"], "lookup");
    EXPECT_FALSE(output[1].contains("namespace"));

    const auto again = responses(R"({"input": [{"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "1", "namespace": "mcp__notes", "name": "lookup", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "lookup", "arguments": "{}"},
        {"type": "function_call", "call_id": "3", "namespace": "gone", "name": "f", "arguments": "{}"}], )" +
                                 tools + "}");
    const auto& calls = again.conversation.messages.at(1).tool_calls;
    EXPECT_EQ(calls.at(0).name, "mcp__notes__lookup");
    EXPECT_EQ(calls.at(1).name, "lookup");
    EXPECT_EQ(calls.at(2).name, "gone__f");
}

TEST(ApiTools, HistoriesWithToolsOfOtherFormsAreRead) {
    const auto request = responses(R"({"input": [{"role": "user", "content": "x"},
        {"type": "local_shell_call", "call_id": "1", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "1", "output": "a.txt"},
        {"type": "shell_call", "call_id": "2", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "2", "output": [{"stdout": "b.txt"}]}]})");
    const auto& messages = request.conversation.messages;
    ASSERT_EQ(messages.size(), 5u);
    EXPECT_EQ(messages[1].tool_calls[0].name, "local_shell");
    EXPECT_EQ(messages[1].tool_calls[0].arguments, R"({"type": "exec", "command": ["ls"]})");
    EXPECT_EQ(content_text(messages[2].content), "a.txt");
    EXPECT_EQ(content_text(messages[4].content), R"([{"stdout": "b.txt"}])");
}

// --- text in parts

TEST(ApiParts, DocumentsAndSearchResultsAreText) {
    const auto text = [](const char* block, bool in_tool) {
        ordered_json content = ordered_json::array({ordered_json::parse(block)});
        if (in_tool) content = {{{"type", "tool_result"}, {"tool_use_id", "t"}, {"content", content}}};
        ordered_json body = {{"max_tokens", 5}, {"messages", {{{"role", "user"}, {"content", content}}}}};
        const auto read = read_anthropic_request(body, FakeService().info(), false).request;
        return content_text(read.conversation.messages.at(0).content);
    };
    for (const bool in_tool : {false, true}) {
        EXPECT_EQ(text(R"({"type": "document", "title": "T", "context": "C", "citations": {"enabled": true},
                           "source": {"type": "text", "media_type": "text/plain", "data": "D"}})",
                       in_tool),
                  "T\n\nC\n\nD");
        EXPECT_EQ(text(R"({"type": "document", "source": {"type": "content", "content": "D"}})", in_tool),
                  "D");
        EXPECT_EQ(text(R"({"type": "document", "source": {"type": "content", "content": [
                           {"type": "text", "text": "A"}, {"type": "image"}, {"type": "text", "text": "B"}]}})",
                       in_tool),
                  "A\n\n[Unsupported image]\n\nB");
        EXPECT_EQ(text(R"({"type": "search_result", "source": "S", "title": "T",
                           "content": [{"type": "text", "text": "R"}]})",
                       in_tool),
                  "T\n\nS\n\nR");
        EXPECT_EQ(text(R"({"type": "document", "source": {"type": "base64", "data": "x"}})", in_tool),
                  "[Unsupported document]");
    }
}

// --- references to earlier items

TEST(AnsweredItems, AreFoundByTheirTenantForAWhile) {
    AnsweredItems items(4000);
    const auto reference = [](const std::string& id) {
        return ordered_json{{"input", {{{"type", "item_reference"}, {"id", id}}}}};
    };
    items.remember("a", {{"id", "x"}, {"text", "1"}});
    auto body = reference("x");
    items.resolve("a", body);
    EXPECT_EQ(body["input"][0], (ordered_json{{"id", "x"}, {"text", "1"}}));
    body = reference("x");
    EXPECT_THROW(items.resolve("b", body), ApiError);
    for (int i = 0; i < 100; ++i) {
        items.remember("a", {{"id", fmt::format("y{}", i)}, {"text", "2"}});
        body = reference("x");  // in use it stays
        EXPECT_NO_THROW(items.resolve("a", body));
        EXPECT_LE(items.bytes(), 4000u);
    }
    body = reference("y0");
    EXPECT_THROW(items.resolve("a", body), ApiError);
    body = reference("y99");
    EXPECT_NO_THROW(items.resolve("a", body));
    items.remember("a", {{"id", "large"}, {"text", std::string(5000, 'x')}});
    EXPECT_LE(items.bytes(), 4000u);
    for (const char* odd :
         {R"({})", R"({"input": "x"})", R"({"input": [5, null, {"type": 5}, {"id": "x"}]})"}) {
        body = ordered_json::parse(odd);
        items.resolve("a", body);
        EXPECT_EQ(body, ordered_json::parse(odd));
    }
}

TEST(AnsweredItems, AreThoseOfAnswersThatMayBeKept) {
    FakeService service;
    service.events = {make_event(Kind::reasoning, "Hm."), make_event(Kind::content, "Yes."), finished("stop"),
                      done()};
    const auto routes = responses_routes(service);
    for (const bool store : {true, false}) {
        ordered_json body = {{"input", "x"}};
        if (!store) body["store"] = false;
        const auto output = ask(routes, "POST", "/v1/responses", body.dump())->json()["output"];
        ASSERT_EQ(output.size(), 2u);
        body["input"] = {{{"role", "user"}, {"content", "x"}},
                         {{"type", "item_reference"}, {"id", output[0]["id"]}},
                         {{"type", "item_reference"}, {"id", output[1]["id"]}},
                         {{"role", "user"}, {"content", "y"}}};
        const auto writer = ask(routes, "POST", "/v1/responses", body.dump());
        EXPECT_EQ(writer->status, store ? 200 : 400);
        if (!store) continue;
        const auto& messages = service.requests.back().conversation.messages;
        ASSERT_EQ(messages.size(), 3u);
        EXPECT_EQ(messages[1].reasoning, "Hm.");
        EXPECT_EQ(content_text(messages[1].content), "Yes.");
    }
}

TEST(HiddenReasoning, IsNotSent) {
    FakeService service;
    service.events = {make_event(Kind::reasoning, "Secret."), make_event(Kind::content, "Yes."),
                      finished("stop"), done()};
    for (const bool stream : {false, true}) {
        ordered_json body = ordered_json::parse(
            R"({"messages": [{"role": "user", "content": "x"}], "reasoning": {"exclude": true}})");
        body["stream"] = stream;
        const auto text = ask(openai_routes(service), "POST", "/v1/chat/completions", body.dump())->body;
        EXPECT_EQ(text.find("Secret"), std::string::npos);
        EXPECT_NE(text.find("Yes."), std::string::npos);
    }
}

}  // namespace
}  // namespace cachalot::server
