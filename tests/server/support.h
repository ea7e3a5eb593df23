// What tests of the server share: a writer that keeps what is written to it, and requests that wait for their
// answer.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <condition_variable>
#include <fstream>
#include <mutex>

#include "server/api/common.h"
#include "server/exchange.h"

namespace cachalot::server::test {

class FakeWriter : public ResponseWriter {
  public:
    int status = 0;
    Headers headers;
    std::string body;  // whole, or all that was streamed
    bool streamed = false;
    std::atomic<bool> gone = false;
    Log to;
    std::string id;

    void respond(int code, std::string_view, std::string text, const Headers& extra) override {
        std::lock_guard lock(mutex_);
        EXPECT_FALSE(finished_) << "answered twice";
        status = code;
        headers = extra;
        body = std::move(text);
        finished_ = true;
        changed_.notify_all();
    }
    void start_stream(const Headers&) override {
        std::lock_guard lock(mutex_);
        streamed = true;
        status = 200;
    }
    void write(std::string bytes) override {
        std::lock_guard lock(mutex_);
        EXPECT_TRUE(streamed && !finished_);
        body += bytes;
        changed_.notify_all();
    }
    void finish() override {
        std::lock_guard lock(mutex_);
        EXPECT_TRUE(streamed && !finished_);
        finished_ = true;
        changed_.notify_all();
    }
    bool client_gone() const override { return gone; }
    std::string request_id() const override { return id; }
    Log log() const override { return to; }

    bool wait(std::chrono::seconds limit = std::chrono::seconds(60)) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, limit, [&] { return finished_; });
    }
    bool wait_for_text(const std::string& text) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(60),
                                 [&] { return body.find(text) != std::string::npos; });
    }
    bool finished() {
        std::lock_guard lock(mutex_);
        return finished_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool finished_ = false;
};

// Calls the endpoint of that method whose path is `path`, or has the same beginning if it ends in a
// parameter.
inline std::shared_ptr<FakeWriter> call(const std::vector<Route>& routes, const std::string& method,
                                        const std::string& path, const std::string& body,
                                        std::shared_ptr<FakeWriter> writer = std::make_shared<FakeWriter>()) {
    HttpRequest request{method, path, "", {}, body, ""};
    for (const auto& route : routes) {
        auto fixed = route.path.substr(0, route.path.find('{'));
        bool same = fixed == route.path ? path == fixed : path.starts_with(fixed);
        if (route.method == method && same) {
            route.endpoint(request, writer);
            return writer;
        }
    }
    ADD_FAILURE() << "no route " << method << " " << path;
    return writer;
}

inline ordered_json ask(const std::vector<Route>& routes, const std::string& path, const ordered_json& body,
                        int status = 200) {
    auto writer = call(routes, "POST", path, body.dump());
    EXPECT_TRUE(writer->wait());
    EXPECT_EQ(writer->status, status) << writer->body;
    return ordered_json::parse(writer->body);
}

// The chunks of a stream without the [DONE] at its end, which is checked.
inline std::vector<ordered_json> stream(const std::vector<Route>& routes, const std::string& path,
                                        ordered_json body) {
    body["stream"] = true;
    auto writer = call(routes, "POST", path, body.dump());
    EXPECT_TRUE(writer->wait());
    EXPECT_TRUE(writer->streamed) << writer->body;
    EXPECT_TRUE(writer->body.ends_with("data: [DONE]\n\n")) << writer->body;
    std::vector<ordered_json> chunks;
    for (std::size_t at = 0; at < writer->body.size();) {
        auto end = writer->body.find("\n\n", at);
        auto line = writer->body.substr(at, end - at);
        at = end + 2;
        if (line.starts_with("data: {")) chunks.push_back(ordered_json::parse(line.substr(6)));
    }
    return chunks;
}

// A file that goes away with the test.
class TemporaryFile {
  public:
    explicit TemporaryFile(const std::string& text) {
        static int count = 0;
        path = testing::TempDir() + "cachalot_" + std::to_string(getpid()) + "_" + std::to_string(count++) +
               ".json";
        std::ofstream(path) << text;
    }
    ~TemporaryFile() { unlink(path.c_str()); }
    std::string path;
};

}  // namespace cachalot::server::test
