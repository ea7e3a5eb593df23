// What the dialects do with a model of V4.1: efforts, system messages in place, namespaces, images.
#include <gmock/gmock.h>

#include "server/api/anthropic.h"
#include "server/api/anthropic_read.h"
#include "server/api/openai.h"
#include "server/api/openai_parse.h"
#include "server/api/responses.h"
#include "server/api/responses_read.h"
#include "server/fake_service.h"
#include "server/support.h"
#include "service/prepared_prompt.h"
#include "service/scripted_service.h"

namespace cachalot::server {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

ModelInfo v41() {
    ModelInfo info = FakeService().info();
    info.chat.format = ChatFormat::v41;
    return info;
}

Request read(const std::string& dialect, const std::string& members, const ModelInfo& info = v41()) {
    ordered_json body = ordered_json::parse(
        dialect == "responses" ? R"({"input": "Hello"})"
                               : R"({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64})");
    body.update(ordered_json::parse(members));
    if (dialect == "responses") return read_responses_request(body, info).request;
    if (dialect == "messages") return read_anthropic_request(body, info, false).request;
    HttpRequest http;
    http.body = body.dump();
    return openai::parse_chat(http, info).request;
}

std::string prompt(const std::string& dialect, const std::string& members) {
    Request request = read(dialect, members);
    complete_conversation(request);
    return encode_conversation(request).text();
}

std::string refusal(const std::string& dialect, const std::string& members) {
    try {
        prompt(dialect, members);
    } catch (const ApiError& e) {
        EXPECT_EQ(e.status, 400);
        return e.what();
    }
    return "";
}

constexpr const char* kDialects[] = {"chat", "responses", "messages"};
constexpr std::string_view kOn = R"("thinking": {"type": "enabled"})";

TEST(ApiV41, EffortsAreNumbersAndWords) {
    struct Case {
        const char* effort;
        int number;
    };
    for (const char* dialect : kDialects)
        for (const auto& [effort, number] :
             {Case{"1", 1}, Case{"37", 37}, Case{"100", 100}, Case{R"("minimal")", 50}, Case{R"("low")", 50},
              Case{R"("medium")", 75}, Case{R"("high")", 75}, Case{R"("xhigh")", 75}, Case{R"("max")", 100},
              Case{R"("ultra")", 100}})
            for (const char* place :
                 {R"({{"reasoning_effort": {}, {}}})", R"({{"reasoning": {{"effort": {}}}, {}}})",
                  R"({{"output_config": {{"effort": {}}}, {}}})",
                  R"({{"chat_template_kwargs": {{"reasoning_effort": {}}}, {}}})"}) {
                const std::string members = fmt::format(fmt::runtime(place), effort, kOn);
                EXPECT_THAT(prompt(dialect, members),
                            HasSubstr(fmt::format("<｜System｜>Reasoning Effort: {} (", number)))
                    << dialect << members;
            }
    for (const char* dialect : kDialects)
        EXPECT_THAT(prompt(dialect, fmt::format("{{{}}}", kOn)), HasSubstr("Reasoning Effort: 75 ("));
}

TEST(ApiV41, OtherEffortsAreRefusedByName) {
    for (const char* dialect : kDialects) {
        for (const char* effort :
             {"0", "101", "-1", "1.5", "50.0", "true", "[]", R"("37")", R"("hard")", R"("")"})
            for (const auto& [place, name] :
                 {std::pair(R"({{"reasoning_effort": {}}})", "reasoning_effort: "),
                  std::pair(R"({{"reasoning": {{"effort": {}}}}})", "reasoning.effort: ")})
                EXPECT_THAT(refusal(dialect, fmt::format(fmt::runtime(place), effort)),
                            testing::StartsWith(name))
                    << dialect << effort;
        EXPECT_FALSE(read(dialect, R"({"reasoning_effort": "none"})").chat.thinking);
    }
}

// A number is the highest word that it reaches for V4, whose words stay what they were.
TEST(ApiV41, NumbersAreUnderstoodForV4) {
    const ModelInfo v4 = FakeService().info();
    EXPECT_EQ(read("chat", R"({"reasoning_effort": 37})", v4).chat.effort, static_cast<Effort>(37));
    EXPECT_EQ(read("chat", R"({"reasoning_effort": "medium"})", v4).chat.effort, Effort::low);
    EXPECT_EQ(read("chat", R"({"reasoning_effort": "xhigh"})", v4).chat.effort, Effort::max);
}

TEST(ApiV41, LateSystemAndDeveloperMessagesStay) {
    const char* const list = R"([{"role": "system", "content": "S"}, {"role": "system", "content": "T"},
        {"role": "user", "content": "1"}, {"role": "assistant", "content": "a"},
        {"role": "system", "content": "late"}{}])";
    const std::string start =
        "<｜System｜>S<｜System｜>T<｜User｜>1<｜Assistant｜></think>a<｜end▁of▁sentence｜><｜System｜>late";
    const auto with = [&](const char* more) {
        std::string text = list;
        return text.replace(text.find("{}"), 2, more);
    };
    const std::string developer =
        R"(, {"role": "developer", "content": "D"}, {"role": "user", "content": "2"})";
    EXPECT_THAT(prompt("chat", R"({"think": false, "messages": )" + with("") + "}"),
                HasSubstr(start + "<｜Assistant｜></think>"));
    EXPECT_THAT(prompt("messages", R"({"messages": )" + with("") + "}"), HasSubstr(start));
    EXPECT_THAT(prompt("responses", R"({"think": false, "input": )" + with("") + "}"), HasSubstr(start));
    EXPECT_THAT(prompt("chat", R"({"think": false, "messages": )" + with(developer.c_str()) + "}"),
                HasSubstr(start + "<｜User｜>D\n\n2<｜Assistant｜></think>"));
    EXPECT_THAT(prompt("responses", R"({"think": false, "input": )" + with(developer.c_str()) + "}"),
                HasSubstr(start + "<｜User｜>D\n\n2<｜Assistant｜></think>"));
}

TEST(ApiV41, MessagesOfferTools) {
    const char* const members = R"({"think": false, "messages": [{"role": "user", "content": "1"},
        {"role": "system", "content": "More.", "tools": [{"type": "function", "namespace": {"name": "n", "description": "About n."},
            "function": {"name": "f", "description": "F."}}]}]})";
    EXPECT_THAT(prompt("chat", members), HasSubstr("<｜User｜>1<｜System｜>More.\n\n## Tools"));
    EXPECT_THAT(prompt("chat", members), HasSubstr(R"({"name": "n::f", "description": "About n.\nF."})"));
    EXPECT_THAT(refusal("chat", R"({"messages": [{"role": "developer", "content": "x", "tools": [
                    {"type": "function", "function": {"name": "f"}}]}]})"),
                HasSubstr("messages[0].tools: only system messages can carry tools"));
}

TEST(ApiV41, NamespacesOfToolsAreParts) {
    const std::string chat = prompt("chat", R"({"tools": [
        {"type": "function", "namespace": {"name": "files", "description": "File tools."},
         "function": {"name": "read", "description": "Reads.", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "read", "namespace": "web"}},
        {"type": "function", "function": {"name": "read"}}]})");
    EXPECT_THAT(chat, HasSubstr(R"({"name": "files::read", "description": "File tools.\nReads.")"));
    EXPECT_THAT(chat, HasSubstr(R"({"name": "web::read", )"));
    EXPECT_THAT(chat, HasSubstr(R"({"name": "read", )"));
    const std::string responses = prompt("responses", R"({"tools": [{"type": "namespace", "name": "files",
        "description": "File tools.", "tools": [
            {"type": "function", "name": "read", "description": "Reads.", "parameters": {"type": "object"}},
            {"type": "function", "name": "list", "parameters": {"type": "object"}}]}]})");
    EXPECT_THAT(responses, HasSubstr(R"({"name": "files::read", "description": "File tools.\nReads.")"));
    EXPECT_THAT(responses, HasSubstr(R"({"name": "files::list", )"));
    EXPECT_THAT(responses, HasSubstr(R"("description": "File tools.\n"})"));
    for (const char* wrong : {R"({"name": "a::b::c"})", R"({"name": "a::b", "namespace": "c"})",
                              R"({"name": "b", "namespace": "a::c"})"})
        EXPECT_THAT(
            refusal("chat", fmt::format(R"({{"tools": [{{"type": "function", "function": {}}}]}})", wrong)),
            testing::StartsWith("tools: "))
            << wrong;
}

// They stand in the prompt as the names of tools do.
TEST(ApiV41, NamespacesHaveTheNamesOfTools) {
    for (const std::string& name :
         {std::string("a\\\"b"), std::string("｜DSML｜"), std::string("a b"), std::string(257, 'n')}) {
        const std::string tool =
            fmt::format(R"({{"type": "function", "namespace": "{0}", "function": {{"name": "f"}}}})", name);
        const std::string inside = fmt::format(
            R"({{"type": "function", "function": {{"name": "f", "namespace": {{"name": "{0}"}}}}}})", name);
        EXPECT_THAT(refusal("chat", fmt::format(R"({{"tools": [{}]}})", tool)),
                    testing::StartsWith("tools[0].namespace: "));
        EXPECT_THAT(refusal("chat", fmt::format(R"({{"tools": [{}]}})", inside)),
                    testing::StartsWith("tools[0].function.namespace.name: "));
        for (const std::string& own : {tool, inside})
            EXPECT_THAT(
                refusal("chat", fmt::format(R"({{"messages": [{{"role": "system", "tools": [{}]}}]}})", own)),
                testing::AllOf(testing::StartsWith("messages[0].tools[0]."), HasSubstr("namespace: ")));
    }
    EXPECT_THAT(prompt("chat", R"({"tools": [
                    {"type": "function", "namespace": {"name": ""}, "function": {"name": "f"}}]})"),
                HasSubstr(R"({"name": "f", )"));
}

// Not passed over: the model would not know of what the client waits for.
TEST(ApiV41, OnlyMessagesOfChatHaveToolsOfTheirOwn) {
    for (const std::string own : {R"("tools": [{"type": "function", "function": {"name": "f"}}])",
                                  R"("response_format": {"type": "json_object"})"})
        for (const auto& [dialect, list] :
             {std::pair("responses", "input"), std::pair("messages", "messages")})
            EXPECT_THAT(refusal(dialect, fmt::format(R"({{"{}": [{{"role": "system", "content": "x", {}}},
                    {{"role": "user", "content": "y"}}]}})",
                                                     list, own)),
                        testing::StartsWith(
                            fmt::format("{}[0].{}: not supported", list, own.substr(1, own.find(':') - 2))))
                << dialect << own;
    EXPECT_THAT(prompt("messages", R"({"messages": [{"role": "user", "content": "y", "tools": []}]})"),
                HasSubstr("<｜User｜>y"));
}

TEST(ApiV41, NamespacesOfCallsAreParts) {
    EXPECT_THAT(
        prompt("chat",
               R"({"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [
                    {"id": "c", "type": "function", "namespace": "files", "function": {"name": "read", "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "c", "content": "r"}]})"),
        HasSubstr("<｜DSML｜ invoke name=\"files::read\">"));
    EXPECT_THAT(prompt("responses", R"({"input": [{"role": "user", "content": "1"},
                    {"type": "function_call", "call_id": "c", "name": "read", "namespace": "files", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "r"}]})"),
                HasSubstr("<｜DSML｜ invoke name=\"files::read\">"));
    EXPECT_THAT(refusal("responses", R"({"input": [
                    {"type": "function_call", "call_id": "c", "name": "a::b", "namespace": "d", "arguments": "{}"}]})"),
                HasSubstr("input[0].name: 'a::b' is not of the namespace 'd'"));
}

TEST(ApiV41, ImagesAreRefusedByName) {
    EXPECT_THAT(refusal("chat", R"({"messages": [{"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "data:,"}}]}]})"),
                HasSubstr("images are not supported yet"));
    EXPECT_THAT(refusal("responses", R"({"input": [{"role": "user", "content": [
                    {"type": "input_image", "image_url": "data:,"}]}]})"),
                HasSubstr("images are not supported yet"));
    for (
        const char* content :
        {R"([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}])",
         R"([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}])"})
        EXPECT_THAT(refusal("messages",
                            fmt::format(R"({{"messages": [{{"role": "user", "content": {}}}]}})", content)),
                    HasSubstr("images are not supported yet"))
            << content;
    // Where the model would be shown nothing at all.
    EXPECT_THAT(
        refusal("chat", R"({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": [
                    {"type": "input_audio", "input_audio": {}}]}]})"),
        HasSubstr("input_audio"));
    EXPECT_THAT(prompt("chat", R"({"messages": [{"role": "user", "content": [
                    {"type": "input_audio", "input_audio": {}}]}]})"),
                HasSubstr("[Unsupported input_audio]"));
}

// As languages with one type of number write them.
TEST(ApiV41, WholeNumbersAreIntegers) {
    const auto effort = [](const char* dialect, const char* members) {
        return read(dialect, members).chat.effort;
    };
    for (const char* dialect : kDialects) {
        for (const char* members :
             {R"({"reasoning_effort": 50.0})", R"({"effort": 5e1})", R"({"thinking_level": 50.0})",
              R"({"output_config": {"effort": 50.0}})", R"({"think": 50.0})",
              R"({"chat_template_kwargs": {"reasoning_effort": 50.0}})",
              R"({"reasoning": {"effort": 50.0}})"})
            EXPECT_EQ(effort(dialect, members), static_cast<Effort>(50)) << dialect << members;
        for (const char* wrong : {"50.5", "0.0", "101.0", "1e300"})
            EXPECT_THAT(refusal(dialect, fmt::format(R"({{"reasoning_effort": {}}})", wrong)),
                        testing::StartsWith("reasoning_effort: expected an integer from 1 to 100, found"))
                << dialect << wrong;
        EXPECT_EQ(read(dialect, R"({"reasoning": {"max_tokens": 32.0}})").generation.max_reasoning, 32);
        EXPECT_EQ(read(dialect, R"({"thinking": {"type": "enabled", "budget_tokens": 32.0}, "top_k": 7.0})")
                      .generation.sampling.top_k,
                  7);
        EXPECT_EQ(read(dialect, R"({"seed": 9.0})").generation.sampling.seed, 9u);
        const std::string limit = std::string(dialect) == "responses" ? "max_output_tokens" : "max_tokens";
        EXPECT_EQ(read(dialect, "{\"" + limit + "\": 33.0}").generation.max_tokens, 33);
    }
    EXPECT_EQ(read("chat", R"({"n": 2.0})").n, 2);
}

TEST(ApiV41, JsonModeIsNamedAsTheModelKnowsIt) {
    EXPECT_THAT(prompt("chat", R"({"response_format": {"type": "json_object"}})"),
                HasSubstr("schema to reply:\n{\"type\": \"json_object\"}<｜User｜>"));
}

// The format of a system message is a part of the prompt, as the model was trained: whatever is asked for, a
// schema, too. Nothing enforces it.
TEST(ApiV41, FormatsOfSystemMessagesAreWrittenWhereTheyStand) {
    const auto with = [](const std::string& format) {
        return prompt("chat", fmt::format(R"({{"messages": [{{"role": "user", "content": "1"}},
            {{"role": "system", "content": "S", "response_format": {}}}, {{"role": "user", "content": "2"}}]}})",
                                          format));
    };
    const std::string schema =
        R"({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}})";
    EXPECT_THAT(with(schema), HasSubstr("<｜System｜>S\n\n## Response Format:\n\nYou MUST strictly adhere to "
                                        "the following schema to reply:\n" +
                                        schema + "<｜User｜>2"));
    EXPECT_THAT(with(R"({"type": "text"})"), HasSubstr("<｜System｜>S<｜User｜>2"));
    EXPECT_THAT(refusal("chat", R"({"response_format": {"type": "json_schema", "json_schema": {}}})"),
                testing::StartsWith("response_format.type: "));
}

// Through a server: what the model calls "files::read" comes back in two parts, and under its own name if it
// was offered so.
class ScriptedV41 : public testing::Test {
  protected:
    test::TemporaryFile script{R"({"format": "v4.1", "default": {"reasoning": "Hm.", "content": "Looking.",
        "tool_calls": [{"name": "files::read", "arguments": {"path": "x"}}, {"name": "flat::name", "arguments": {}}]}})"};
    std::unique_ptr<Service> service = make_scripted_service(Script::load(script.path));

    static ordered_json body() {
        return ordered_json::parse(R"({"messages": [{"role": "user", "content": "go"}], "tools": [
            {"type": "function", "namespace": "files", "function": {"name": "read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}},
            {"type": "function", "function": {"name": "flat::name", "parameters": {"type": "object", "properties": {}}}}]})");
    }
};

TEST_F(ScriptedV41, CallsComeBackInParts) {
    const auto routes = openai_routes(*service);
    const auto calls =
        test::ask(routes, "/v1/chat/completions", body())["choices"][0]["message"]["tool_calls"];
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[0]["function"]["name"], "read");
    EXPECT_EQ(calls[0]["namespace"], "files");
    EXPECT_EQ(calls[1]["function"]["name"], "flat::name");
    EXPECT_FALSE(calls[1].contains("namespace"));
    std::vector<ordered_json> streamed;
    for (const auto& chunk : test::stream(routes, "/v1/chat/completions", body()))
        if (const auto& delta = chunk["choices"][0]["delta"]; delta.contains("tool_calls"))
            if (delta["tool_calls"][0].contains("id")) streamed.push_back(delta["tool_calls"][0]);
    ASSERT_EQ(streamed.size(), 2u);
    EXPECT_EQ(streamed[0]["namespace"], "files");
    EXPECT_EQ(streamed[0]["function"]["name"], "read");
    EXPECT_FALSE(streamed[1].contains("namespace"));
}

TEST_F(ScriptedV41, ToolsOfMessagesComeBackInParts) {
    ordered_json request = body();
    request["messages"].push_back({{"role", "system"}, {"content", "More."}, {"tools", request["tools"]}});
    request.erase("tools");
    const auto calls = test::ask(openai_routes(*service), "/v1/chat/completions",
                                 request)["choices"][0]["message"]["tool_calls"];
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[0]["function"]["name"], "read");
    EXPECT_EQ(calls[0]["namespace"], "files");
}

TEST_F(ScriptedV41, ThePromptIsThatOfV41) {
    const auto rendered = test::ask(openai_routes(*service), "/apply-template", body());
    EXPECT_THAT(rendered.dump(), HasSubstr("<｜System｜>Reasoning Effort: 75"));
    EXPECT_THAT(rendered.dump(), HasSubstr("<｜DSML｜ calls>"));
}

}  // namespace
}  // namespace cachalot::server
