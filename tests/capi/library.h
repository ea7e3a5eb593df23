// The library as a program in C++ uses it: handles that close themselves, and events that are collected.
#pragma once

#include <cachalot/cachalot.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/tiny_release.h"

namespace cachalot::test {

inline const std::string kNano = CACHALOT_MODELS "/nano/nano.gguf";

using EngineHandle = std::unique_ptr<cachalot_engine, cachalot_status (*)(cachalot_engine*)>;
using RequestHandle = std::unique_ptr<cachalot_request, void (*)(cachalot_request*)>;

inline cachalot_options engine_options() {
    cachalot_options options;
    cachalot_options_init(&options, sizeof options);
    options.threads = 2;
    return options;
}

inline EngineHandle open_nano(const cachalot_options& options = engine_options()) {
    cachalot_engine* engine = nullptr;
    cachalot_error error{};
    EXPECT_EQ(cachalot_open(kNano.c_str(), &options, &engine, &error), CACHALOT_OK) << error.message;
    return {engine, cachalot_close};
}

inline cachalot_request_options request_options() {
    cachalot_request_options options;
    cachalot_request_options_init(&options, sizeof options);
    options.temperature = 0;
    return options;
}

inline std::string one_message(const std::string& text) {
    return R"([{"role": "user", "content": ")" + text + R"("}])";
}

// What the events of one request amount to.
struct Events {
    std::vector<int> kinds;
    std::string content, reasoning, call_name, call_arguments, stop, message;
    std::vector<std::int32_t> tokens;
    int ends = 0, reason = -1;
    cachalot_status status = CACHALOT_OK;
    cachalot_usage started{}, usage{};
    std::function<int(const cachalot_event&)> watch;  // may stop it

    static int take(const cachalot_event* event, void* user) {
        return static_cast<Events*>(user)->add(*event);
    }

  private:
    int add(const cachalot_event& e) {
        EXPECT_EQ(ends, 0) << "an event after the end";
        kinds.push_back(e.kind);
        const std::string text(e.text, e.text_size);
        switch (e.kind) {
            case CACHALOT_EVENT_STARTED: started = e.usage; break;
            case CACHALOT_EVENT_CONTENT: content += text; break;
            case CACHALOT_EVENT_REASONING: reasoning += text; break;
            case CACHALOT_EVENT_CALL_BEGIN: call_name += text; break;
            case CACHALOT_EVENT_CALL_ARGUMENTS: call_arguments += text; break;
            case CACHALOT_EVENT_END:
                ++ends;
                reason = e.reason;
                status = e.status;
                usage = e.usage;
                stop = e.stop;
                message = e.message;
                tokens.assign(e.tokens, e.tokens + e.token_count);
                break;
            default: break;
        }
        return watch ? watch(e) : 0;
    }
};

inline RequestHandle submit(cachalot_engine* engine, cachalot_request_options options, Events& events) {
    options.on_event = Events::take;
    options.on_event_user = &events;
    cachalot_request* request = nullptr;
    cachalot_error error{};
    EXPECT_EQ(cachalot_submit(engine, &options, &request, &error), CACHALOT_OK) << error.message;
    return {request, cachalot_request_free};
}

// Waits for the answer, which must not fail.
inline Events answer(cachalot_engine* engine, const cachalot_request_options& options) {
    Events events;
    auto request = submit(engine, options, events);
    cachalot_error error{};
    EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, &error), CACHALOT_OK) << error.message;
    EXPECT_EQ(events.ends, 1);
    return events;
}

}  // namespace cachalot::test
