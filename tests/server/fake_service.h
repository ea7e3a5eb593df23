// A service that replays a given list of events, and a client that keeps what it is sent.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "server/exchange.h"
#include "service/service.h"

namespace cachalot::server {

using Kind = Event::Kind;

inline Event make_event(Kind kind, std::string text = {}) {
    Event event{};
    event.kind = kind;
    event.text = std::move(text);
    return event;
}
inline Event call_start(std::size_t call, std::string id, std::string name) {
    Event event = make_event(Kind::call_start, std::move(name));
    event.call = call;
    event.id = std::move(id);
    return event;
}
inline Event call_arguments(std::size_t call, std::string text) {
    Event event = make_event(Kind::call_arguments, std::move(text));
    event.call = call;
    return event;
}
inline Event call_end(std::size_t call) {
    Event event = make_event(Kind::call_end);
    event.call = call;
    return event;
}
inline Event finished(std::string reason, std::string stop_text = {}) {
    Event event = make_event(Kind::finished);
    event.finish_reason = std::move(reason);
    event.stop_text = std::move(stop_text);
    return event;
}
inline Event done(Usage usage = {100, 60, 20, 5}) {
    Event event = make_event(Kind::done);
    event.usage = usage;
    return event;
}
inline Event progress(std::int64_t done, std::int64_t total) {
    Event event = make_event(Kind::progress);
    event.progress_done = done;
    event.progress_total = total;
    return event;
}
inline Event failed(ApiError error) {
    Event event = make_event(Kind::failed);
    event.error = std::make_shared<ApiError>(std::move(error));
    return event;
}

class FakeService : public Service {
  public:
    FakeService() {
        info_.id = "cachalot-nano";
        info_.context = 4096;
        info_.vocab_size = 1000;
    }

    std::vector<Event> events;             // sent by submit(), before it returns
    std::optional<ApiError> refusal;       // thrown by submit()
    std::int64_t prompt_tokens = 100;      // what count_tokens() says and submit() tells
    std::vector<Request> requests;         // that submit() got
    mutable std::vector<Request> counted;  // that count_tokens() got
    Sink sink;                             // of the last request

    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return true; }
    std::shared_ptr<Job> submit(Request request, Sink to) override {
        requests.push_back(std::move(request));
        if (requests.back().sized) requests.back().sized(prompt_tokens);
        if (refusal) throw *refusal;
        sink = std::move(to);
        for (const Event& event : events) sink(event);
        struct NoJob : Job {
            void cancel() override {}
        };
        return std::make_shared<NoJob>();
    }
    std::int64_t count_tokens(const Request& request) const override {
        counted.push_back(request);
        return prompt_tokens;
    }
    std::string render(const Request&) const override { return {}; }
    std::vector<std::int32_t> tokenize(std::string_view, bool) const override { return {}; }
    std::string detokenize(std::span<const std::int32_t> tokens) const override {
        std::string text;
        for (const std::int32_t token : tokens) text += fmt::format("<{}>", token);
        return text;
    }
    void drain(std::chrono::steady_clock::time_point) override {}

  private:
    ModelInfo info_;
};

class FakeWriter : public ResponseWriter {
  public:
    int status = 0;  // 0: nothing has been sent
    std::string content_type, body;
    Headers headers;
    bool streaming = false, over = false, gone = false;

    void respond(int code, std::string_view type, std::string bytes, const Headers& extra) override {
        EXPECT_EQ(status, 0) << "a second answer";
        status = code;
        content_type = type;
        body = std::move(bytes);
        headers = extra;
        over = true;
    }
    void start_stream(const Headers& extra) override {
        EXPECT_EQ(status, 0) << "a second answer";
        status = 200;
        headers = extra;
        streaming = true;
    }
    void write(std::string bytes) override {
        EXPECT_TRUE(streaming && !over) << bytes;
        body += bytes;
    }
    void finish() override {
        EXPECT_TRUE(streaming && !over);
        over = true;
    }
    bool client_gone() const override { return gone; }

    nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(body); }
};

// The answer of the route with this method and path.
inline std::shared_ptr<FakeWriter> ask(const std::vector<Route>& routes, const std::string& method,
                                       const std::string& path, std::string body) {
    auto writer = std::make_shared<FakeWriter>();
    for (const Route& route : routes) {
        if (route.method != method || route.path != path) continue;
        HttpRequest request{method, path, {}, {}, std::move(body), "tenant-1", "T"};
        route.endpoint(request, writer);
        return writer;
    }
    ADD_FAILURE() << "no route " << method << " " << path;
    return writer;
}

struct SseEvent {
    std::string name;
    nlohmann::ordered_json data;
};

// Takes a stream apart, strictly: each event is a line with its name, a line of JSON and an empty one.
inline std::vector<SseEvent> read_sse(std::string_view bytes) {
    std::vector<SseEvent> events;
    while (!bytes.empty()) {
        const std::size_t end = bytes.find("\n\n");
        const std::size_t line = bytes.find('\n');
        if (!bytes.starts_with("event: ") || end == bytes.npos || bytes.substr(line + 1, 6) != "data: ") {
            ADD_FAILURE() << "not an event: " << bytes;
            return events;
        }
        events.push_back({std::string(bytes.substr(7, line - 7)),
                          nlohmann::ordered_json::parse(bytes.substr(line + 7, end - line - 7))});
        bytes.remove_prefix(end + 2);
    }
    return events;
}

inline std::vector<std::string> names(const std::vector<SseEvent>& events) {
    std::vector<std::string> all;
    for (const SseEvent& event : events) all.push_back(event.name);
    return all;
}

}  // namespace cachalot::server
