// Documents in parts, references to the items of earlier answers, and reasoning that stays hidden.
#include "server/api/answered_items.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/tools_test.h"

namespace cachalot::server::tools_test {
namespace {

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
}  // namespace cachalot::server::tools_test
