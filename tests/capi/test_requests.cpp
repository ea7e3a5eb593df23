#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "capi/library.h"
#include "cli/program.h"

namespace cachalot::test {
namespace {

class CapiRequests : public Commands {
  protected:
    // What the program says, as JSON.
    nlohmann::json said(const std::string& arguments) {
        const auto o = run(fmt::format("run -m '{}' -t 2 --json {}", kNano, arguments));
        EXPECT_EQ(o.status, 0) << o.err;
        return nlohmann::json::parse(o.out);
    }
    static void expect_same(const Events& events, const nlohmann::json& program) {
        EXPECT_EQ(events.content, program["text"]);
        EXPECT_EQ(events.reasoning, program["reasoning"]);
        EXPECT_EQ(events.usage.prompt_tokens, program["usage"]["prompt_tokens"]);
        EXPECT_EQ(events.usage.completion_tokens, program["usage"]["completion_tokens"]);
        EXPECT_EQ(events.reason == CACHALOT_END_LENGTH, program["finish_reason"] == "length");
    }

    EngineHandle engine = open_nano();
};

TEST_F(CapiRequests, AnswersAreThoseOfTheProgram) {
    for (const std::string prompt : {"What is 7 + 5?", "Tell me a story about a whale."}) {
        const std::string messages = one_message(prompt);
        auto options = request_options();
        options.messages = messages.c_str();
        options.max_tokens = 48;
        expect_same(answer(engine.get(), options), said("--temp 0 -n 48 -p '" + prompt + "'"));

        options.temperature = -1;
        options.seed = 7;
        expect_same(answer(engine.get(), options), said("--seed 7 -n 48 -p '" + prompt + "'"));

        options.thinking = CACHALOT_THINK_ON;
        options.temperature = 0.7f;
        options.top_k = 20;
        options.presence_penalty = 0.5f;
        expect_same(answer(engine.get(), options),
                    said("--seed 7 --temp 0.7 --top-k 20 --presence-penalty 0.5 --think on -n 48 -p '" +
                         prompt + "'"));
    }
}

TEST_F(CapiRequests, TextsAreContinuedAsByTheProgram) {
    auto options = request_options();
    const std::string text = "Once upon a time";
    options.text = text.data();
    options.text_size = text.size();
    options.max_tokens = 40;
    const auto events = answer(engine.get(), options);
    expect_same(events, said("--raw --temp 0 -n 40 -p '" + text + "'"));

    // The same as tokens, which the last event has together with what was written.
    auto prompt = events.tokens;
    prompt.resize(static_cast<std::size_t>(events.usage.prompt_tokens));
    options = request_options();
    options.tokens = prompt.data();
    options.token_count = prompt.size();
    options.max_tokens = 40;
    const auto again = answer(engine.get(), options);
    EXPECT_EQ(again.content, events.content);
    EXPECT_EQ(again.tokens, events.tokens);
    EXPECT_GT(again.usage.cached_tokens, 0);
}

TEST_F(CapiRequests, StopStringsEndTheContent) {
    auto options = request_options();
    options.text = "Once upon a time";
    options.text_size = 16;
    options.max_tokens = 40;
    const auto whole = answer(engine.get(), options).content;
    ASSERT_GT(whole.size(), 20u);
    const std::string stop = whole.substr(10, 4);
    const char* stops[] = {"never said", stop.c_str()};
    options.stops = stops;
    options.stop_count = 2;
    const auto events = answer(engine.get(), options);
    EXPECT_EQ(events.content, whole.substr(0, whole.find(stop)));
    EXPECT_EQ(events.reason, CACHALOT_END_STOP);
    EXPECT_EQ(events.stop, stop);
}

TEST_F(CapiRequests, AnswersHaveTheFormThatIsAskedFor) {
    const std::string messages = one_message("Who are you?");
    auto options = request_options();
    options.messages = messages.c_str();
    options.max_tokens = 300;
    options.temperature = 1.5f;
    options.json_schema =
        R"({"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "boolean"}},
        "required": ["a", "b"], "additionalProperties": false})";
    const auto object = nlohmann::json::parse(answer(engine.get(), options).content);
    EXPECT_EQ(object.size(), 2u) << object;
    EXPECT_TRUE(object["a"] == "x" || object["a"] == "y") << object;
    EXPECT_TRUE(object["b"].is_boolean()) << object;
    options.json_schema = nullptr;
    options.regex = "[ab]{3}(c|d)";
    const auto text = answer(engine.get(), options).content;
    ASSERT_EQ(text.size(), 4u) << text;
    EXPECT_EQ(text.find_first_not_of("ab"), 3u) << text;
    options.regex = nullptr;
    options.grammar = "root ::= \"one\" | \"two\"";
    const auto choice = answer(engine.get(), options).content;
    EXPECT_TRUE(choice == "one" || choice == "two") << choice;
}

TEST_F(CapiRequests, AnswersSideBySideAreThoseOfEachAlone) {
    const std::vector<std::string> prompts = {one_message("What is 7 + 5?"),
                                              one_message("Name three colours."),
                                              one_message("Tell me a story about a whale.")};
    auto options_of = [&](const std::string& messages) {
        auto options = request_options();
        options.messages = messages.c_str();
        options.temperature = 0.9f;
        options.seed = 3;
        options.max_tokens = 64;
        return options;
    };
    std::vector<Events> together(prompts.size());
    std::vector<RequestHandle> requests;
    for (std::size_t i = 0; i < prompts.size(); ++i)
        requests.push_back(submit(engine.get(), options_of(prompts[i]), together[i]));
    for (auto& request : requests) EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, nullptr), CACHALOT_OK);
    const auto fresh = open_nano();  // which knows none of the prompts
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        EXPECT_EQ(together[i].content, answer(fresh.get(), options_of(prompts[i])).content);
        EXPECT_EQ(together[i].kinds.front(), CACHALOT_EVENT_STARTED);
        EXPECT_EQ(together[i].kinds.back(), CACHALOT_EVENT_END);
    }
}

TEST_F(CapiRequests, CallsComeInPieces) {
    const std::string messages = one_message("How warm is it in Paris?");
    auto options = request_options();
    options.messages = messages.c_str();
    options.tools = R"([{"type": "function", "function": {"name": "weather", "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])";
    options.tool_choice = "function:weather";
    options.single_call = 1;
    options.max_tokens = 200;
    const auto events = answer(engine.get(), options);
    EXPECT_EQ(events.call_name, "weather");
    EXPECT_TRUE(nlohmann::json::accept(events.call_arguments)) << events.call_arguments;
    EXPECT_EQ(std::count(events.kinds.begin(), events.kinds.end(), CACHALOT_EVENT_CALL_END), 1);
}

// Something that goes on for long.
cachalot_request_options endless() {
    auto options = request_options();
    options.text = "Once upon a time";
    options.text_size = 16;
    options.ignore_eos = 1;
    return options;
}

TEST_F(CapiRequests, CancelEndsAnAnswerInTheMiddle) {
    Events events;
    std::atomic<bool> writes = false;
    events.watch = [&](const cachalot_event& e) {
        writes = writes || e.kind == CACHALOT_EVENT_CONTENT;
        return 0;
    };
    auto request = submit(engine.get(), endless(), events);
    cachalot_error error{};
    EXPECT_EQ(cachalot_wait(request.get(), 0, nullptr, &error), CACHALOT_TIMEOUT);
    EXPECT_EQ(error.status, CACHALOT_TIMEOUT);
    while (!writes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    cachalot_cancel(request.get());
    cachalot_result result{};
    result.size = sizeof result;
    EXPECT_EQ(cachalot_wait(request.get(), -1, &result, &error), CACHALOT_OK) << error.message;
    EXPECT_EQ(result.reason, CACHALOT_END_CANCELLED);
    EXPECT_GT(result.usage.prompt_tokens, 0);
    EXPECT_EQ(events.ends, 1);
    EXPECT_EQ(events.reason, CACHALOT_END_CANCELLED);
    cachalot_cancel(request.get());  // nothing is left to end
    EXPECT_EQ(answer(engine.get(),
                     [] {
                         auto options = endless();
                         options.max_tokens = 5;
                         return options;
                     }())
                  .reason,
              CACHALOT_END_LENGTH);
}

TEST_F(CapiRequests, ACallbackEndsItsAnswer) {
    for (const bool throws : {false, true}) {
        Events events;
        int pieces = 0;
        events.watch = [&](const cachalot_event& e) {
            if (e.kind != CACHALOT_EVENT_CONTENT) return 0;
            ++pieces;
            if (throws) throw std::runtime_error("of the program");
            return 1;
        };
        auto request = submit(engine.get(), endless(), events);
        EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, nullptr), CACHALOT_OK);
        EXPECT_EQ(pieces, 1);
        EXPECT_EQ(events.reason, CACHALOT_END_CANCELLED);
    }
}

TEST_F(CapiRequests, WhatWouldWaitForACallbackIsRefusedInIt) {
    Events events;
    cachalot_request* itself = nullptr;
    std::atomic<bool> known = false;
    bool asked = false;
    events.watch = [&](const cachalot_event& e) {
        if (e.kind != CACHALOT_EVENT_CONTENT || asked) return 0;
        asked = true;
        while (!known) std::this_thread::yield();
        EXPECT_EQ(cachalot_wait(itself, -1, nullptr, nullptr), CACHALOT_INVALID);
        EXPECT_EQ(cachalot_close(engine.get()), CACHALOT_INVALID);
        cachalot_bytes bytes{};
        const std::int32_t token = 1;
        cachalot_error error{};
        EXPECT_EQ(cachalot_state_save(engine.get(), &token, 1, nullptr, &bytes, nullptr, &error),
                  CACHALOT_INVALID);
        EXPECT_THAT(error.message, testing::HasSubstr("cachalot_state_save"));
        EXPECT_EQ(cachalot_state_load(engine.get(), &token, 4, nullptr, nullptr, nullptr), CACHALOT_INVALID);
        cachalot_tokens tokens{};  // while this is allowed
        EXPECT_EQ(cachalot_tokenize(engine.get(), "x", 1, 0, &tokens, nullptr), CACHALOT_OK);
        cachalot_free(tokens.data);
        cachalot_cancel(itself);
        return 0;
    };
    auto request = submit(engine.get(), endless(), events);
    itself = request.get();
    known = true;
    EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, nullptr), CACHALOT_OK);
    EXPECT_TRUE(asked);
    EXPECT_EQ(events.reason, CACHALOT_END_CANCELLED);
}

TEST_F(CapiRequests, ClosingEndsWhatRuns) {
    std::vector<Events> events(6);  // more than are written at the same time
    std::vector<RequestHandle> requests;
    for (auto& e : events) requests.push_back(submit(engine.get(), endless(), e));
    EXPECT_EQ(cachalot_close(engine.release()), CACHALOT_OK);
    for (std::size_t i = 0; i < events.size(); ++i) {
        EXPECT_EQ(events[i].ends, 1);
        EXPECT_EQ(events[i].reason, CACHALOT_END_CANCELLED);
        EXPECT_EQ(cachalot_wait(requests[i].get(), 0, nullptr, nullptr), CACHALOT_OK);
    }
}

TEST_F(CapiRequests, FreeingEndsARequestAndItsEvents) {
    Events events;
    submit(engine.get(), endless(), events).reset();
    EXPECT_EQ(events.ends, 1);
    EXPECT_EQ(events.reason, CACHALOT_END_CANCELLED);
}

// The message is for who has the file, and names it.
TEST_F(CapiRequests, AnAnswerThatFailsSaysWhy) {
    const auto file = path("changed.gguf");
    std::filesystem::copy_file(kNano, file);
    const auto settings = engine_options();
    cachalot_engine* opened = nullptr;
    ASSERT_EQ(cachalot_open(file.c_str(), &settings, &opened, nullptr), CACHALOT_OK);
    const EngineHandle changed(opened, cachalot_close);
    const auto expect_named = [&](cachalot_status status, const std::string& message) {
        EXPECT_EQ(status, CACHALOT_FAILED);
        EXPECT_THAT(message, testing::HasSubstr(file + ": was changed while in use"));
        EXPECT_THAT(message, testing::Not(testing::HasSubstr("server")));
    };

    Events events;
    std::atomic<bool> writes = false;
    events.watch = [&](const cachalot_event& e) {
        writes = writes || e.kind == CACHALOT_EVENT_CONTENT;
        return 0;
    };
    const auto request = submit(changed.get(), endless(), events);
    while (!writes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(-1000, std::ios::end).put('x');
    cachalot_error error{};
    EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, &error), CACHALOT_FAILED);
    expect_named(error.status, error.message);
    expect_named(events.status, events.message);
    EXPECT_EQ(events.reason, CACHALOT_END_ERROR);

    const auto options = endless();
    cachalot_request* refused = nullptr;
    EXPECT_EQ(cachalot_submit(changed.get(), &options, &refused, &error), CACHALOT_FAILED);
    expect_named(error.status, error.message);
}

TEST_F(CapiRequests, NobodyNeedsToListen) {
    auto options = request_options();
    options.text = "Once";
    options.text_size = 4;
    options.max_tokens = 3;
    cachalot_request* request = nullptr;
    ASSERT_EQ(cachalot_submit(engine.get(), &options, &request, nullptr), CACHALOT_OK);
    cachalot_result result{};
    result.size = sizeof result;
    EXPECT_EQ(cachalot_wait(request, -1, &result, nullptr), CACHALOT_OK);
    EXPECT_EQ(result.reason, CACHALOT_END_LENGTH);
    EXPECT_EQ(result.usage.completion_tokens, 3);
    cachalot_request_free(request);
}

}  // namespace
}  // namespace cachalot::test
