// Legacy completions of several prompts: each is a request of its own, accepted one after the other while the
// first may be answered already.
#include <gtest/gtest.h>

#include <thread>

#include "server/api/openai.h"
#include "server/fake_service.h"

namespace cachalot::server {
namespace {

class CountedJob : public Job {
  public:
    explicit CountedJob(int& cancelled) : cancelled_(cancelled) {}
    void cancel() override { ++cancelled_; }

  private:
    int& cancelled_;
};

// Answers each request as soon as it is accepted, on a thread of its own as a model does.
class EagerService : public FakeService {
  public:
    int cancelled = 0, submitted = 0, refuse_at = -1;
    bool waited_in_vain = false;

    std::shared_ptr<Job> submit(Request request, Sink to) override {
        if (submitted == refuse_at) throw ApiError(400, "invalid_request", "prompt: no", "prompt");
        const std::string name = request.text.front().text;
        // The next prompt is prepared when this one's answer is through: nobody may make the model wait for
        // that.
        std::atomic<bool> through = false;
        std::thread model([&, to] {
            Event text = make_event(Event::Kind::content, "<" + name + ">");
            to(make_event(Event::Kind::started));
            to(text);
            to(finished("stop"));
            to(done({1, 0, 1, 0}));
            through = true;
        });
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(3);
        while (!through && std::chrono::steady_clock::now() < limit)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        waited_in_vain = waited_in_vain || !through;
        if (through)
            model.join();
        else
            model.detach(), std::this_thread::sleep_for(std::chrono::milliseconds(10));
        ++submitted;
        return std::make_shared<CountedJob>(cancelled);
    }
};

TEST(Completions, TheModelDoesNotWaitWhilePromptsArePrepared) {
    EagerService service;
    const auto writer =
        ask(openai_routes(service), "POST", "/v1/completions", R"({"prompt": ["a", "b", "c"]})");
    EXPECT_FALSE(service.waited_in_vain);
    const auto choices = writer->json()["choices"];
    ASSERT_EQ(choices.size(), 3u);
    EXPECT_EQ(choices[0]["text"], "<a>");
    EXPECT_EQ(choices[2]["text"], "<c>");
    EXPECT_EQ(writer->json()["usage"]["completion_tokens"], 3);
    EXPECT_EQ(service.cancelled, 0);
}

TEST(Completions, WhatCameEarlyIsStreamedInItsOrder) {
    EagerService service;
    const auto writer =
        ask(openai_routes(service), "POST", "/v1/completions", R"({"prompt": ["a", "b"], "stream": true})");
    const std::size_t a = writer->body.find("<a>"), b = writer->body.find("<b>");
    EXPECT_LT(a, b);
    EXPECT_NE(b, std::string::npos);
    EXPECT_TRUE(writer->body.ends_with("data: [DONE]\n\n"));
}

TEST(Completions, OneRefusedPromptEndsTheOthers) {
    for (int refused = 0; refused < 3; ++refused) {
        EagerService service;
        service.refuse_at = refused;
        const auto writer =
            ask(openai_routes(service), "POST", "/v1/completions", R"({"prompt": ["a", "b", "c"]})");
        EXPECT_EQ(writer->status, 400);
        EXPECT_EQ(writer->json()["error"]["message"], "prompt: no");
        EXPECT_EQ(service.cancelled, refused);
    }
}

// Out of memory, say, when the stream is begun.
class BrokenWriter : public FakeWriter {
  public:
    void start_stream(const Headers&) override { throw std::bad_alloc(); }
};

TEST(Completions, AnAnswerThatCannotBeginEndsItsRequests) {
    for (const auto& [path, body] :
         {std::pair{"/v1/completions", R"({"prompt": ["a", "b"], "stream": true})"},
          std::pair{"/v1/chat/completions",
                    R"({"messages": [{"role": "user", "content": "a"}], "stream": true})"}}) {
        struct Silent : FakeService {
            int cancelled = 0, submitted = 0;
            std::shared_ptr<Job> submit(Request, Sink) override {
                ++submitted;
                return std::make_shared<CountedJob>(cancelled);
            }
        } service;
        auto writer = std::make_shared<BrokenWriter>();
        for (const Route& route : openai_routes(service))
            if (route.path == path) route.endpoint({"POST", path, {}, {}, body, "", "T"}, writer);
        EXPECT_EQ(writer->status, 500) << path;
        EXPECT_GT(service.submitted, 0);
        EXPECT_EQ(service.cancelled, service.submitted) << path;
    }
}

}  // namespace
}  // namespace cachalot::server
