#include "server/api/responses.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "server/api/responses_read.h"
#include "server/api/responses_write.h"
#include "server/fake_service.h"
#include "server/random_answer.h"

namespace cachalot::server {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;

ResponsesRequest read(const char* body) {
    return read_responses_request(ordered_json::parse(body), FakeService().info());
}

std::vector<Message> messages(const char* items) {
    const ordered_json body = {{"input", ordered_json::parse(items)}};
    return read_responses_request(body, FakeService().info()).request.conversation.messages;
}

std::shared_ptr<FakeWriter> post(FakeService& service, const char* body) {
    return ask(responses_routes(service), "POST", "/v1/responses", body);
}

// --- requests

TEST(ResponsesRequest, ReadsAString) {
    const ResponsesRequest r = read(R"({"model": "gpt-x", "input": "Hello", "instructions": "Be brief.",
        "max_output_tokens": 1, "temperature": 0.5, "top_p": 0.25, "stream": true, "store": false,
        "parallel_tool_calls": false, "prompt_cache_key": "k", "metadata": {"a": "b"}, "user": "u",
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "unknown": [1]})");
    const std::vector<Message>& m = r.request.conversation.messages;
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].role, Role::system);
    EXPECT_EQ(content_text(m[0].content), "Be brief.");
    EXPECT_EQ(m[1].role, Role::user);
    EXPECT_EQ(content_text(m[1].content), "Hello");
    EXPECT_TRUE(r.stream);
    EXPECT_EQ(r.request.generation.max_tokens, 1);
    EXPECT_TRUE(r.request.max_tokens_given);
    EXPECT_FALSE(r.request.parallel_tool_calls);
    EXPECT_TRUE(r.request.json_object);
    EXPECT_EQ(r.request.generation.top_logprobs, -1);
    EXPECT_EQ(r.repeated["model"], "gpt-x");
    EXPECT_EQ(r.repeated["temperature"], 0.5);
    EXPECT_EQ(r.repeated["metadata"]["a"], "b");
    EXPECT_EQ(r.repeated["text"].dump(), R"({"format":{"type":"json_object"},"verbosity":"low"})");
}

TEST(ResponsesRequest, ReadsTheProbeOfNothing) {
    for (const char* body : {R"({"max_output_tokens": 1})", R"({"input": []})", R"({"input": ""})"}) {
        const std::vector<Message> m = read(body).request.conversation.messages;
        ASSERT_EQ(m.size(), 1u);
        EXPECT_EQ(m[0].role, Role::user);
    }
}

TEST(ResponsesRequest, PutsTheItemsOfATurnTogether) {
    const std::vector<Message> m = messages(R"([
        {"role": "developer", "content": "Rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"},
                                                        {"type": "input_image", "image_url": "data:"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "ls", "arguments": "{\"a\":1}"},
        {"type": "function_call", "call_id": "call_2", "name": "pwd", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "x"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "y"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "A"},
                                          {"type": "summary_text", "text": "B"}]},
        {"type": "message", "role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks"}])");
    ASSERT_EQ(m.size(), 7u);
    EXPECT_EQ(m[0].role, Role::developer);
    EXPECT_EQ(content_text(m[1].content), "Look\n\n[Unsupported image]");
    EXPECT_EQ(m[2].role, Role::assistant);
    EXPECT_EQ(m[2].reasoning, "Hm.");
    EXPECT_EQ(content_text(m[2].content), "Looking.");
    ASSERT_EQ(m[2].tool_calls.size(), 2u);
    EXPECT_EQ(m[2].tool_calls[0].id, "call_1");
    EXPECT_EQ(m[2].tool_calls[0].arguments, "{\"a\":1}");
    EXPECT_EQ(m[3].role, Role::tool);
    EXPECT_EQ(m[3].tool_call_id, "call_1");
    EXPECT_EQ(content_text(m[4].content), "y");
    EXPECT_EQ(m[5].reasoning, "A\n\nB");
    EXPECT_EQ(content_text(m[5].content), "Done.");
    EXPECT_EQ(m[6].role, Role::user);
}

TEST(ResponsesRequest, ReasoningAfterAnAnswerBeginsTheNextTurn) {
    const std::vector<Message> m = messages(R"([
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "1"}]},
        {"type": "function_call", "call_id": "a", "name": "ls", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2"}]},
        {"type": "function_call", "call_id": "b", "name": "ls", "arguments": "{}"}])");
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[1].reasoning, "2");
    EXPECT_EQ(m[1].tool_calls[0].id, "b");
}

TEST(ResponsesRequest, ReadsReasoningFromWhereverTheClientKeptIt) {
    const auto reasoning = [](const char* fields) {
        ordered_json item = {{"type", "reasoning"}};
        item.update(ordered_json::parse(fields));
        return messages(ordered_json::array({item}).dump().c_str())[0].reasoning;
    };
    EXPECT_EQ(reasoning(R"({"encrypted_content": "cachalot:all\nof it", "summary": []})"), "all\nof it");
    EXPECT_EQ(reasoning(R"({"encrypted_content": "gAAAAB of another service", "summary": []})"), "");
    EXPECT_EQ(reasoning(R"({"encrypted_content": null, "content": null, "summary": null})"), "");
}

TEST(ResponsesRequest, KeepsCallsOfCustomTools) {
    const std::vector<Message> m = messages(R"([
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "a \"b\""},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}])");
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].tool_calls[0].arguments, R"({"input": "a \"b\""})");
    EXPECT_EQ(m[1].tool_call_id, "c");
}

TEST(ResponsesRequest, LeavesOutToolsOfProviders) {
    const ResponsesRequest r = read(R"({"input": "x", "tools": [
        {"type": "namespace", "name": "n", "tools": []}, {"type": "web_search"}, {"type": "image_generation"},
        {"type": "shell", "environment": {"type": "container_auto"}}, {"type": "tool_search"},
        {"type": "function", "name": "ls", "description": "lists", "strict": true, "parameters": {"type": "object"}},
        {"type": "function", "name": "pwd", "parameters": null}]})");
    ASSERT_EQ(r.request.conversation.tools.size(), 2u);
    EXPECT_EQ(r.request.conversation.tools[0].dump(),
              R"({"name":"ls","description":"lists","parameters":{"type":"object"}})");
    EXPECT_EQ(r.request.conversation.tools[1].dump(),
              R"({"name":"pwd","parameters":{"type":"object","properties":{}}})");
    EXPECT_EQ(r.repeated["tools"].size(), 3u);
    EXPECT_EQ(r.repeated["tools"][1]["type"], "function");
}

TEST(ResponsesRequest, ReadsToolChoice) {
    const auto choice = [](const char* json) {
        ordered_json body = ordered_json::parse(
            R"({"input": "x", "tools": [{"type": "function", "name": "ls"}, {"type": "web_search"}]})");
        body["tool_choice"] = ordered_json::parse(json);
        return read_responses_request(body, FakeService().info()).request;
    };
    EXPECT_EQ(choice(R"("auto")").tool_choice, ToolChoice::automatic);
    EXPECT_EQ(choice(R"("none")").tool_choice, ToolChoice::none);
    EXPECT_EQ(choice(R"("required")").tool_choice, ToolChoice::required);
    EXPECT_EQ(choice(R"({"type": "function", "name": "ls"})").tool_choice, ToolChoice::named);
    EXPECT_EQ(choice(R"({"type": "function", "name": "ls"})").named_tool, "ls");
    EXPECT_THROW(choice(R"({"type": "web_search"})"), ApiError);
    EXPECT_EQ(choice(R"({"type": "allowed_tools", "mode": "required"})").tool_choice, ToolChoice::required);
}

TEST(ResponsesRequest, ReadsReasoningOptions) {
    const ResponsesRequest r = read(R"({"input": "x", "reasoning": {"effort": "high", "summary": "auto"},
                 "include": ["reasoning.encrypted_content"]})");
    EXPECT_EQ(r.request.chat.effort, Effort::high);
    EXPECT_TRUE(r.request.chat.thinking);
    EXPECT_TRUE(r.reasoning_summary);
    EXPECT_TRUE(r.encrypted_reasoning);
    EXPECT_FALSE(read(R"({"input": "x", "reasoning": {"effort": "none"}})").request.chat.thinking);
    EXPECT_FALSE(read(R"({"input": "x", "reasoning": {"effort": null, "summary": null}})").reasoning_summary);
    EXPECT_EQ(read(R"({"input": "x", "top_logprobs": 3})").request.generation.top_logprobs, 3);
    EXPECT_EQ(read(R"({"input": "x", "include": ["message.output_text.logprobs"]})")
                  .request.generation.top_logprobs,
              0);
}

// --- answers

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
    ResponsesAnswer answer("T", 1700000000, {});
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
    ResponsesAnswer answer("T", 1700000000, {.reasoning_summary = true, .encrypted_reasoning = true});
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
    ResponsesAnswer answer("T", 1700000000,
                           {.repeated = read(R"({"model": "gpt-x", "input": "x"})").repeated});
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
    ResponsesAnswer answer("T", 1, {});
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
    ResponsesAnswer answer("T", 1, {.token_text = [](std::int32_t t) { return fmt::format("<{}>", t); }});
    Event content = make_event(Kind::content, "Hi");
    content.logprobs = {{{7, -0.5}, {{7, -0.5}, {8, -INFINITY}}}};
    const std::vector<SseEvent> events = read_sse(answer.feed(content));
    const char* expected =
        R"([{"token":"<7>","bytes":[60,55,62],"logprob":-0.5,"top_logprobs":[{"token":"<7>","bytes":[60,55,62],"logprob":-0.5},{"token":"<8>","bytes":[60,56,62],"logprob":-9999.0}]}])";
    EXPECT_EQ(events.back().data["logprobs"].dump(), expected);
    EXPECT_EQ(ordered_json::parse(answer.whole())["output"][0]["content"][0]["logprobs"].dump(), expected);
}

// What an SDK makes of a stream; fails where one would.
ordered_json accumulate(const std::vector<SseEvent>& events) {
    ordered_json response;
    int added = 0, items_done = 0, parts = 0;
    bool over = false;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto& [name, data] = events[i];
        EXPECT_EQ(data["type"], name);
        EXPECT_EQ(data["sequence_number"], i);
        EXPECT_FALSE(over) << name;
        EXPECT_EQ(name == "response.created", i == 0);
        if (data.contains("response")) {
            over = name == "response.completed" || name == "response.incomplete";
            if (!response.is_null()) {
                EXPECT_EQ(data["response"]["output"].dump(), response["output"].dump()) << name;
            }
            response = data["response"];
            continue;
        }
        ordered_json& output = response["output"];
        const std::size_t index = data["output_index"];
        if (name == "response.output_item.added") {
            EXPECT_EQ(index, output.size());
            EXPECT_EQ(added++, items_done);
            output.push_back(data["item"]);
            continue;
        }
        EXPECT_EQ(index, output.size() - 1);
        ordered_json& item = output.back();
        if (name == "response.output_item.done") {
            EXPECT_EQ(item["id"], data["item"]["id"]);
            EXPECT_EQ(parts, 0);
            // The parts that were streamed are those of the item.
            for (const char* key : {"content", "summary", "arguments"}) {
                if (item.contains(key)) {
                    EXPECT_EQ(item[key], data["item"][key]);
                }
            }
            item = data["item"];
            EXPECT_NE(item["status"], "in_progress");
            items_done++;
            continue;
        }
        EXPECT_EQ(data["item_id"], item["id"]);
        if (name.starts_with("response.function_call_arguments")) {
            EXPECT_EQ(item["type"], "function_call");
            if (name.ends_with(".delta"))
                item["arguments"] = item["arguments"].get<std::string>() + data["delta"].get<std::string>();
            else
                EXPECT_EQ(item["arguments"], data["arguments"]);
            continue;
        }
        const bool summary = name.find("summary") != name.npos;
        EXPECT_EQ(data[summary ? "summary_index" : "content_index"], 0);
        ordered_json& list = item[summary ? "summary" : "content"];
        if (name.ends_with("part.added")) {
            EXPECT_EQ(parts++, 0);
            list.push_back(data["part"]);
        } else if (name.ends_with("part.done")) {
            EXPECT_EQ(parts--, 1);
            EXPECT_EQ(list[0], data["part"]);
        } else if (name.ends_with("text.delta")) {
            EXPECT_EQ(parts, 1);
            list[0]["text"] = list[0]["text"].get<std::string>() + data["delta"].get<std::string>();
        } else if (name.ends_with("text.done")) {
            EXPECT_EQ(list[0]["text"], data["text"]);
        } else {
            ADD_FAILURE() << name;
        }
    }
    EXPECT_TRUE(over);
    EXPECT_EQ(added, items_done);
    return response;
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

// --- routes

TEST(ResponsesRoutes, KeepsTheConnectionAliveWithRealEvents) {
    auto writer = std::make_shared<FakeWriter>();
    FakeService service;
    run_answer(service, {}, std::make_unique<ResponsesAnswer>("T", 1, ResponsesAnswerOptions{}), writer,
               {.stream = true, .keep_alive = std::chrono::milliseconds(0)});
    service.sink(progress(512, 2048));
    service.sink(make_event(Kind::content, "Hi"));
    service.sink(progress(2048, 2048));
    service.sink(finished("stop"));
    service.sink(done());
    const std::vector<SseEvent> events = read_sse(writer->body);
    accumulate(events);
    ASSERT_EQ(events[2].name, "response.in_progress");
    EXPECT_EQ(events[2].data["prompt_progress"].dump(), R"({"processed":512,"total":2048})");
}

ApiError overflow() {
    ApiError error(400, "context_length_exceeded", "too long", "messages");
    error.prompt_tokens = 5000;
    error.max_tokens = 64;
    error.context = 4096;
    return error;
}

TEST(ResponsesRoutes, TellsOfAFullContextAsCodexExpects) {
    FakeService service;
    service.refusal = overflow();
    const auto whole = post(service, R"({"input": "x"})");
    EXPECT_EQ(whole->status, 400);
    const ordered_json error = whole->json()["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], "input");
    EXPECT_EQ(error["message"],
              "Your input exceeds the context window of this model: 5000 tokens + 64 of output > 4096.");

    const auto stream = post(service, R"({"input": "x", "stream": true})");
    EXPECT_EQ(stream->status, 200);
    EXPECT_TRUE(stream->over);
    const std::vector<SseEvent> events = read_sse(stream->body);
    EXPECT_THAT(names(events),
                ElementsAre("response.created", "response.in_progress", "error", "response.failed"));
    EXPECT_EQ(events[2].data["code"], "context_length_exceeded");
    EXPECT_EQ(events[2].data["error"], error);
    EXPECT_EQ(events[3].data["response"]["status"], "failed");
    EXPECT_EQ(events[3].data["response"]["error"]["code"], "context_length_exceeded");
}

TEST(ResponsesRoutes, LateErrorsEndTheStreamAndLeaveTheItemOpen) {
    FakeService service;
    service.events = {make_event(Kind::started), call_start(0, "c", "rm"), call_arguments(0, "{}"),
                      call_end(0), failed(ApiError(503, "shutting_down", "bye"))};
    const auto stream = post(service, R"({"input": "x", "stream": true})");
    const std::vector<SseEvent> events = read_sse(stream->body);
    EXPECT_THAT(names(events),
                ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                            "response.function_call_arguments.delta", "error", "response.failed"));
    EXPECT_EQ(events.back().data["response"]["error"].dump(), R"({"code":"shutting_down","message":"bye"})");
    EXPECT_TRUE(stream->over);
    EXPECT_EQ(post(service, R"({"input": "x"})")->status, 503);
}

TEST(ResponsesRoutes, OtherRefusalsAreHttpErrorsEvenForStreams) {
    FakeService service;
    service.refusal = ApiError(429, "queue_full", "busy");
    const auto writer = post(service, R"({"input": "x", "stream": true})");
    EXPECT_EQ(writer->status, 429);
    EXPECT_FALSE(writer->streaming);
    EXPECT_EQ(writer->json()["error"]["type"], "rate_limit_error");
}

TEST(ResponsesRoutes, SharedRefusalsNameTheInput) {
    FakeService service;
    service.refusal = ApiError(400, "invalid_request", "messages: their results are missing", "messages");
    const ordered_json error = post(service, R"({"input": "x"})")->json()["error"];
    EXPECT_EQ(error["param"], "input");
    EXPECT_EQ(error["message"], "input: their results are missing");
}

TEST(ResponsesRoutes, NothingIsStored) {
    FakeService service;
    for (const auto& [method, path] : {std::pair{"GET", "/v1/responses/{id}"},
                                       {"POST", "/v1/responses/{id}/cancel"},
                                       {"DELETE", "/v1/responses/{id}"}}) {
        const auto writer = ask(responses_routes(service), method, path, "");
        EXPECT_EQ(writer->status, 404);
        EXPECT_EQ(writer->json()["error"]["message"], "Responses are not stored by this server.");
    }
    for (const char* path : {"/v1/responses/input_tokens", "/v1/responses/compact"}) {
        const auto writer = ask(responses_routes(service), "POST", path, R"({"input": "x"})");
        EXPECT_EQ(writer->status, 404);
        EXPECT_NE(writer->json()["error"]["message"].get<std::string>().find("/v1/"), std::string::npos);
    }
}

TEST(ResponsesRoutes, AskTheServiceForTheTenantOfTheKey) {
    FakeService service;
    service.events = {finished("stop"), done()};
    const auto writer = post(service, R"({"input": "x"})");
    EXPECT_EQ(writer->status, 200);
    EXPECT_EQ(writer->json()["output"].dump(), "[]");
    EXPECT_EQ(service.requests.at(0).tenant, "tenant-1");
    post(service, R"({"input": "x", "cache_salt": "s"})");
    EXPECT_EQ(service.requests.at(1).tenant, "tenant-1\ns");
}

}  // namespace
}  // namespace cachalot::server
