// Answers of the Responses dialect, streamed and whole.
#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "server/api/responses_write.h"
#include "server/random_answer.h"
#include "server/responses_test.h"

namespace cachalot::server::responses_test {
namespace {

using testing::ElementsAre;

// Events whose responses are left out: those are compared elsewhere.
std::string without_responses(const std::string& bytes) {
    std::string text;
    for (SseEvent& event : read_sse(bytes)) {
        event.data.erase("response");
        text += event.data.dump() + "\n";
    }
    return text;
}

std::string all_bytes(ResponsesAnswer& answer, const std::vector<Event>& events) {
    std::string bytes = answer.start();
    for (const Event& event : events) bytes += answer.feed(event);
    return bytes;
}

TEST(ResponsesStream, SaysEveryEventOfAnAnswerWithAllKindsOfItems) {
    ResponsesAnswer answer("T", 1700000000, {.stream = true});
    const std::string bytes =
        all_bytes(answer, {make_event(Kind::started), make_event(Kind::reasoning, "Hm."),
                           make_event(Kind::content, "Loo"), make_event(Kind::content, "king."),
                           call_start(0, "call_1", "ls"), call_arguments(0, "{\"a\": "),
                           call_arguments(0, "1}"), call_end(0), finished("tool_calls"), done()});
    EXPECT_EQ(without_responses(bytes),
              R"({"type":"response.created","sequence_number":0}
{"type":"response.in_progress","sequence_number":1}
{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_T_0","type":"reasoning","status":"in_progress","summary":[],"content":[]}}
{"type":"response.content_part.added","sequence_number":3,"item_id":"rs_T_0","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":""}}
{"type":"response.reasoning_text.delta","sequence_number":4,"item_id":"rs_T_0","output_index":0,"content_index":0,"delta":"Hm."}
{"type":"response.reasoning_text.done","sequence_number":5,"item_id":"rs_T_0","output_index":0,"content_index":0,"text":"Hm."}
{"type":"response.content_part.done","sequence_number":6,"item_id":"rs_T_0","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":"Hm."}}
{"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"id":"rs_T_0","type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]}}
{"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"id":"msg_T_1","type":"message","status":"in_progress","role":"assistant","content":[]}}
{"type":"response.content_part.added","sequence_number":9,"item_id":"msg_T_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
{"type":"response.output_text.delta","sequence_number":10,"item_id":"msg_T_1","output_index":1,"content_index":0,"delta":"Loo","logprobs":[]}
{"type":"response.output_text.delta","sequence_number":11,"item_id":"msg_T_1","output_index":1,"content_index":0,"delta":"king.","logprobs":[]}
{"type":"response.output_text.done","sequence_number":12,"item_id":"msg_T_1","output_index":1,"content_index":0,"text":"Looking.","logprobs":[]}
{"type":"response.content_part.done","sequence_number":13,"item_id":"msg_T_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Looking.","annotations":[],"logprobs":[]}}
{"type":"response.output_item.done","sequence_number":14,"output_index":1,"item":{"id":"msg_T_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Looking.","annotations":[],"logprobs":[]}]}}
{"type":"response.output_item.added","sequence_number":15,"output_index":2,"item":{"id":"fc_T_2","type":"function_call","status":"in_progress","call_id":"call_1","name":"ls","arguments":""}}
{"type":"response.function_call_arguments.delta","sequence_number":16,"item_id":"fc_T_2","output_index":2,"delta":"{\"a\": "}
{"type":"response.function_call_arguments.delta","sequence_number":17,"item_id":"fc_T_2","output_index":2,"delta":"1}"}
{"type":"response.function_call_arguments.done","sequence_number":18,"item_id":"fc_T_2","output_index":2,"name":"ls","arguments":"{\"a\": 1}"}
{"type":"response.output_item.done","sequence_number":19,"output_index":2,"item":{"id":"fc_T_2","type":"function_call","status":"completed","call_id":"call_1","name":"ls","arguments":"{\"a\": 1}"}}
{"type":"response.completed","sequence_number":20}
)");
}

TEST(ResponsesStream, ReasoningAsASummaryWithACopyToSendBack) {
    ResponsesAnswer answer("T", 1700000000,
                           {.stream = true, .reasoning_summary = true, .encrypted_reasoning = true});
    const std::string bytes = all_bytes(
        answer,
        {make_event(Kind::reasoning, "H"), make_event(Kind::reasoning, "m."), finished("stop"), done()});
    EXPECT_EQ(without_responses(bytes),
              R"({"type":"response.created","sequence_number":0}
{"type":"response.in_progress","sequence_number":1}
{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_T_0","type":"reasoning","status":"in_progress","summary":[],"encrypted_content":null}}
{"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_T_0","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}
{"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_T_0","output_index":0,"summary_index":0,"delta":"H"}
{"type":"response.reasoning_summary_text.delta","sequence_number":5,"item_id":"rs_T_0","output_index":0,"summary_index":0,"delta":"m."}
{"type":"response.reasoning_summary_text.done","sequence_number":6,"item_id":"rs_T_0","output_index":0,"summary_index":0,"text":"Hm."}
{"type":"response.reasoning_summary_part.done","sequence_number":7,"item_id":"rs_T_0","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"Hm."}}
{"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"id":"rs_T_0","type":"reasoning","status":"completed","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"cachalot:Hm."}}
{"type":"response.completed","sequence_number":9}
)");
}

TEST(ResponsesStream, TheResponseIsWholeInItsFirstAndLastEvent) {
    ResponsesAnswer answer(
        "T", 1700000000, {.stream = true, .repeated = read(R"({"model": "gpt-x", "input": "x"})").repeated});
    const std::vector<SseEvent> events =
        read_sse(all_bytes(answer, {make_event(Kind::content, "Hi"), finished("stop"), done()}));
    EXPECT_EQ(
        events.front().data["response"].dump(),
        R"({"id":"resp_T","object":"response","created_at":1700000000,"completed_at":null,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"model":"gpt-x","instructions":null,"max_output_tokens":null,"max_tool_calls":null,"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"temperature":1.0,"top_p":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"top_logprobs":0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"truncation":"disabled","background":false,"store":false,"service_tier":"default","prompt_cache_key":null,"safety_identifier":null,"user":null,"metadata":{},"usage":null})");
    const ordered_json& last = events.back().data["response"];
    EXPECT_EQ(last["status"], "completed");
    EXPECT_GT(last["completed_at"], 1700000000);
    EXPECT_EQ(last["output"][0]["content"][0]["text"], "Hi");
    EXPECT_EQ(
        last["usage"].dump(),
        R"({"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":120})");
}

TEST(ResponsesStream, ACallThatTheLimitCutIsIncomplete) {
    ResponsesAnswer answer("T", 1, {.stream = true});
    const std::vector<SseEvent> events = read_sse(all_bytes(
        answer, {call_start(0, "a", "ls"), call_arguments(0, "{}"), call_end(0), call_start(1, "b", "rm"),
                 call_arguments(1, "{}"), call_end(1), finished("length"), done()}));
    std::vector<std::string> states;
    for (const auto& [name, data] : events)
        if (name == "response.output_item.done") states.push_back(data["item"]["status"]);
    EXPECT_THAT(states, ElementsAre("completed", "incomplete"));
    EXPECT_EQ(events.back().name, "response.incomplete");
    EXPECT_EQ(events.back().data["response"]["incomplete_details"].dump(),
              R"({"reason":"max_output_tokens"})");
    EXPECT_EQ(events.back().data["response"]["status"], "incomplete");
}

TEST(ResponsesStream, TellsTheProbabilityOfTokens) {
    ResponsesAnswer answer(
        "T", 1, {.stream = true, .token_text = [](std::int32_t t) { return fmt::format("<{}>", t); }});
    Event content = make_event(Kind::content, "Hi");
    content.logprobs = {{{7, -0.5}, {{7, -0.5}, {8, -INFINITY}}}};
    const std::vector<SseEvent> events = read_sse(answer.feed(content));
    const char* expected =
        R"([{"token":"<7>","bytes":[60,55,62],"logprob":-0.5,"top_logprobs":[{"token":"<7>","bytes":[60,55,62],"logprob":-0.5},{"token":"<8>","bytes":[60,56,62],"logprob":-9999.0}]}])";
    EXPECT_EQ(events.back().data["logprobs"].dump(), expected);
    EXPECT_EQ(ordered_json::parse(answer.whole())["output"][0]["content"][0]["logprobs"].dump(), expected);
}

RC_GTEST_PROP(ResponsesProperties, StreamAndWholeAnswerAreTheSameResponse, (bool summary, bool encrypted)) {
    FakeService service;
    service.events = random_answer();
    ordered_json body = {{"input", "x"}};
    if (summary) body["reasoning"] = {{"summary", "auto"}};
    if (encrypted) body["include"] = {"reasoning.encrypted_content"};
    const auto whole = post(service, body.dump().c_str());
    body["stream"] = true;
    const auto stream = post(service, body.dump().c_str());
    RC_ASSERT(whole->status == 200 && !whole->streaming && whole->over);
    RC_ASSERT(stream->status == 200 && stream->streaming && stream->over);
    ordered_json a = whole->json(), b = accumulate(read_sse(stream->body));
    RC_ASSERT(!testing::Test::HasFailure());
    for (ordered_json* response : {&a, &b}) {
        for (const char* key : {"id", "created_at", "completed_at"}) response->erase(key);
        for (ordered_json& item : (*response)["output"]) item.erase("id");
    }
    RC_ASSERT(a.dump() == b.dump());
}

RC_GTEST_PROP(ResponsesProperties, NoEventIsMadeWhereNoneIsAskedFor, ()) {
    ResponsesAnswer whole("T", 1, {.stream = false}), stream("T", 1, {.stream = true});
    for (const Event& event : random_answer()) {
        RC_ASSERT(whole.feed(event) == "");
        stream.feed(event);
    }
    ordered_json a = ordered_json::parse(whole.whole()), b = ordered_json::parse(stream.whole());
    for (ordered_json* response : {&a, &b}) response->erase("completed_at");
    RC_ASSERT(a.dump() == b.dump());
}

// What a client keeps of an answer and sends back is the message that the model wrote.
TEST(ResponsesStream, AnAnswerSentBackIsOneMessage) {
    for (const bool summary : {false, true}) {
        ResponsesAnswer answer("T", 1, {.reasoning_summary = summary});
        all_bytes(answer, {make_event(Kind::reasoning, "Hm."), make_event(Kind::content, "Looking."),
                           call_start(0, "call_1", "ls"), call_arguments(0, "{\"a\": 1}"), call_end(0),
                           call_start(1, "call_2", "ls"), call_arguments(1, "{}"), call_end(1),
                           finished("tool_calls"), done()});
        const std::vector<Message> m = messages(ordered_json::parse(answer.whole())["output"].dump().c_str());
        ASSERT_EQ(m.size(), 1u);
        EXPECT_EQ(m[0].reasoning, "Hm.");
        EXPECT_EQ(content_text(m[0].content), "Looking.");
        ASSERT_EQ(m[0].tool_calls.size(), 2u);
        EXPECT_EQ(m[0].tool_calls[0].id, "call_1");
        EXPECT_EQ(m[0].tool_calls[0].arguments, "{\"a\": 1}");
    }
}

}  // namespace
}  // namespace cachalot::server::responses_test
