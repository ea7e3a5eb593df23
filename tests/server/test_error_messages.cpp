// What clients are told of what goes wrong on the server: that it did, under which id the log says more, and
// nothing of files and sources.
#include <gmock/gmock.h>

#include <filesystem>

#include "engine/streaming_test.h"
#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/support.h"
#include "service/engine_service.h"
#include "support/recorded_log.h"

namespace cachalot::server {
namespace {

using cachalot::test::RecordedLog;
using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kId = "req_0123";

struct Ask {
    const char* path;
    ordered_json body;
};

// One of each dialect.
const std::vector<Ask>& dialects() {
    static const ordered_json messages = {{{"role", "user"}, {"content", "What is the capital of France?"}}};
    static const std::vector<Ask> all = {
        {"/v1/chat/completions", {{"messages", messages}, {"max_tokens", 4}}},
        {"/v1/completions", {{"prompt", "Once"}, {"max_tokens", 4}}},
        {"/v1/responses", {{"input", "Once"}, {"max_output_tokens", 16}}},
        {"/v1/messages", {{"messages", messages}, {"max_tokens", 4}, {"model", "m"}}},
    };
    return all;
}

std::vector<Route> routes_of(Service& service) {
    std::vector<Route> routes = openai_routes(service);
    for (auto& more : {anthropic_routes(service, 0), responses_routes(service)})
        routes.insert(routes.end(), more.begin(), more.end());
    return routes;
}

// Asks in every dialect, as a stream and not; each client is told as little as it should, and the log the
// cause.
void expect_discretion(Service& service, const std::shared_ptr<RecordedLog>& log, const std::string& cause) {
    const auto routes = routes_of(service);
    for (auto [path, body] : dialects())
        for (const bool stream : {false, true}) {
            body["stream"] = stream;
            const std::string id = fmt::format("{}{}{}", kId, path, stream);
            auto writer = std::make_shared<test::FakeWriter>();
            writer->to = Log(log);
            writer->id = id;
            test::call(routes, "POST", path, body.dump(), writer);
            ASSERT_TRUE(writer->wait()) << path;
            const std::string told = writer->body.substr(writer->body.find("\"error\""));
            EXPECT_THAT(told, HasSubstr("through no fault of its own")) << path;
            EXPECT_THAT(told, HasSubstr(id)) << path;
            EXPECT_THAT(writer->body, Not(AnyOf(HasSubstr(".gguf"), HasSubstr(".cpp"), HasSubstr("/home"),
                                                HasSubstr("Input/output"), HasSubstr(cause))))
                << path;
            EXPECT_THAT(log->lines(), Contains(AllOf(HasSubstr("error: a request failed"),
                                                     HasSubstr("request=" + id), HasSubstr(cause))))
                << path;
        }
}

TEST(ErrorMessages, AnExpertThatCannotBeReadIsNoPathForClients) {
    const auto log = std::make_shared<RecordedLog>();
    auto queue = std::make_unique<cachalot::test::FaultyQueue>();
    queue->fault = [](const QueuedRead&) { return -EIO; };
    auto options = cachalot::test::small_options();
    options.log = Log(log);
    Engine engine = cachalot::test::streaming(cachalot::test::nano(), 24, std::move(queue), options);
    const auto service = make_engine_service(engine, {});
    expect_discretion(*service, log, "nano.gguf: cannot read");
    EXPECT_THAT(log->lines(), Contains(HasSubstr("warn: a pass of the model failed")));
    EXPECT_THAT(log->lines(),
                Contains(AllOf(HasSubstr("warn: an expert cannot be read"), HasSubstr("layer="))));
}

// Whatever may be thrown before a request is queued, and names more than it should.
class Throwing : public Service {
  public:
    explicit Throwing(std::function<void()> act) : act_(std::move(act)) {
        info_.id = "m";
        info_.context = 4096;
        info_.vocab_size = 1000;
    }
    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return true; }
    std::shared_ptr<Job> submit(Request, Sink) override {
        act_();
        return nullptr;
    }
    std::int64_t count_tokens(const Request&) const override { return act_(), 0; }
    std::string render(const Request&) const override { return act_(), ""; }
    std::vector<std::int32_t> tokenize(std::string_view, bool) const override {
        return act_(), std::vector<std::int32_t>();
    }
    std::string detokenize(std::span<const std::int32_t>) const override { return act_(), ""; }
    void drain(std::chrono::steady_clock::time_point) override {}

  private:
    std::function<void()> act_;
    ModelInfo info_;
};

TEST(ErrorMessages, NothingOfAnAssertionOrTheSystemReachesClients) {
    struct Source {
        std::function<void()> act;
        std::string cause;
    };
    const Source sources[] = {
        {[] { CACHALOT_CHECK(1 + 1 == 3); }, "1 + 1 == 3"},
        {[] { throw std::filesystem::filesystem_error("cannot open", "/home/me/kv", std::error_code()); },
         "/home/me/kv"},
        {[] { throw std::system_error(EIO, std::generic_category(), "/home/me/x"); }, "/home/me/x"},
        {[] { throw std::bad_alloc(); }, "bad_alloc"},
    };
    for (const auto& source : sources) {
        const auto log = std::make_shared<RecordedLog>();
        Throwing service(source.act);
        expect_discretion(service, log, source.cause);
        auto writer = std::make_shared<test::FakeWriter>();
        writer->to = Log(log);
        test::call(routes_of(service), "POST", "/tokenize", R"({"content":"a"})", writer);
        EXPECT_EQ(writer->status, 500);
        EXPECT_THAT(writer->body, Not(HasSubstr(source.cause)));
    }
}

// What is wrong with the request itself is told in full.
TEST(ErrorMessages, WhatTheClientSentIsNamed) {
    const auto log = std::make_shared<RecordedLog>();
    Throwing service([] {});
    for (const auto& [path, sent] : dialects()) {
        auto body = sent;
        body["temperature"] = "hot";
        auto writer = std::make_shared<test::FakeWriter>();
        writer->to = Log(log);
        test::call(routes_of(service), "POST", path, body.dump(), writer);
        EXPECT_EQ(writer->status, 400);
        EXPECT_THAT(writer->body, HasSubstr("temperature"));
    }
    EXPECT_EQ(log->text(), "");
}

}  // namespace
}  // namespace cachalot::server
