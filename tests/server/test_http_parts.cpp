#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "server/api/anthropic_write.h"
#include "server/api/common.h"
#include "server/fake_service.h"
#include "server/http/access.h"
#include "server/http/audit.h"
#include "server/http/error.h"
#include "server/http/exchange.h"
#include "server/http/router.h"
#include "server/http/status.h"
#include "service/metered_service.h"
#include "service/metrics.h"

namespace cachalot::server {
namespace {

TEST(Router, PathsAndPatterns) {
    Router router({{"GET", "/models/{id}", {}},
                   {"GET", "/models/new", {}},
                   {"POST", "/models/{id}/copy", {}},
                   {"POST", "/models/{id}", {}}});
    auto found = [&](const char* method, const char* path) {
        auto m = router.find(method, path);
        return m.route ? m.route->path : "- " + m.allowed;
    };
    EXPECT_EQ(found("GET", "/models/x"), "/models/{id}");
    EXPECT_EQ(found("GET", "/models/a/b"), "/models/{id}");
    EXPECT_EQ(found("GET", "/models/new"), "/models/new");
    EXPECT_EQ(found("HEAD", "/models/new"), "/models/new");
    EXPECT_EQ(found("POST", "/models/x"), "/models/{id}");
    EXPECT_EQ(found("PUT", "/models/x"), "- GET, HEAD, POST, OPTIONS");
    EXPECT_EQ(found("GET", "/models/"), "- ");
    EXPECT_EQ(found("GET", "/models"), "- ");
    EXPECT_EQ(found("GET", "/"), "- ");
    EXPECT_EQ(found("GET", "//models/x"), "- ");
}

TEST(Router, Targets) {
    EXPECT_EQ(parse_target("/a%2fb%C3%A9?q=%zz")->path, "/a/b\xC3\xA9");
    EXPECT_EQ(parse_target("/a?q=%zz?#")->query, "q=%zz?#");
    EXPECT_EQ(parse_target("/a#b?c")->path, "/a");
    for (const char* bad : {"", "*", "a", "http://x/", "/%", "/%4", "/%4g", "/%00", "/%0a", "/%7f"})
        EXPECT_FALSE(parse_target(bad)) << bad;
}

RC_GTEST_PROP(Router, AnyBytesAreSafe, (const std::string& text)) {
    auto target = parse_target("/" + text);
    if (target) Router({{"GET", "/{a}/b/{c}", {}}, {"GET", "/v1/{rest}", {}}}).find("GET", target->path);
    HostList().allows(text);
    ApiKeys keys;
    keys.add("abc");
    RC_ASSERT(!keys.find(text) || text == "abc");
    (void)keys.find(text, text);
}

TEST(Access, Keys) {
    ApiKeys keys;
    EXPECT_TRUE(keys.empty());
    keys.add("first");
    keys.add(" laptop=sk-1 ");
    keys.add("YWJj==");  // base64, not a name
    keys.add("a/b=c");   // nor can this be one
    EXPECT_EQ(keys.find("first"), "key-1");
    EXPECT_EQ(keys.find("sk-1"), "laptop");
    EXPECT_EQ(keys.find("YWJj=="), "key-3");
    EXPECT_EQ(keys.find("a/b=c"), "key-4");
    EXPECT_FALSE(keys.find(""));
    EXPECT_FALSE(keys.find("firs"));
    EXPECT_FALSE(keys.find("firstfirst"));
    EXPECT_THROW(keys.add(""), Error);
    EXPECT_THROW(keys.add("name=a b"), Error);
    EXPECT_THROW(keys.add("caf\xC3\xA9"), Error);
}

TEST(Access, KeyFiles) {
    auto path = std::filesystem::temp_directory_path() / fmt::format("cachalot-keys-{}", getpid());
    std::ofstream(path) << "# people\n\nanna=k1\r\nk2\n";
    ApiKeys keys;
    keys.add_file(path);
    EXPECT_EQ(keys.find("k1"), "anna");
    EXPECT_EQ(keys.find("k2"), "key-2");
    std::ofstream(path) << "ok=1\nbad=a b\n";
    try {
        ApiKeys().add_file(path);
        FAIL();
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos);
    }
    std::ofstream(path) << "# nothing\n";
    EXPECT_THROW(ApiKeys().add_file(path), Error);
    std::filesystem::remove(path);
    EXPECT_THROW(ApiKeys().add_file(path), Error);
}

TEST(Access, HostsAndOrigins) {
    HostList hosts;
    EXPECT_TRUE(hosts.allows("10.1.2.3:80", "10.1.2.3"));
    EXPECT_FALSE(hosts.allows("10.1.2.4:80", "10.1.2.3"));
    EXPECT_TRUE(hosts.allows("[fe80::1]:80", "fe80::1"));
    hosts.allow("*");
    EXPECT_TRUE(hosts.allows("anything.example"));
    EXPECT_FALSE(hosts.allows("a b:c:d"));

    Cors cors;
    EXPECT_FALSE(cors.enabled());
    EXPECT_THROW(cors.allow("chat.example"), Error);
    cors.allow("https://Chat.example");
    EXPECT_EQ(cors.allows("https://chat.example"), "https://chat.example");
    EXPECT_FALSE(cors.allows("https://chat.example.evil"));
    EXPECT_FALSE(cors.allows("http://chat.example"));
    EXPECT_TRUE(same_origin("http://localhost:80", "LOCALHOST:80"));
    EXPECT_FALSE(same_origin("http://localhost:81", "localhost:80"));
    EXPECT_FALSE(same_origin("null", "localhost"));
}

TEST(Errors, ShapesByPath) {
    EXPECT_EQ(error_body("/v1/messages/count_tokens", 401, "m"),
              R"({"type":"error","error":{"type":"authentication_error","message":"m"}})");
    EXPECT_EQ(error_body("/v1/chat/completions", 404, "m\xff"),
              "{\"error\":{\"message\":\"m\xEF\xBF\xBD\",\"type\":\"not_found_error\",\"param\":null,"
              "\"code\":\"not_found\"}}");
    EXPECT_TRUE(error_body("/v1/messagesx", 413, "m", "c").starts_with(R"({"error":)"));
}

// As docs/api.md has them, whether the transport answers or a dialect.
TEST(Errors, BothLayersNameThemAlike) {
    const auto by_transport = [](const char* path, int status) {
        return nlohmann::json::parse(error_body(path, status, "m"))["error"]["type"].get<std::string>();
    };
    for (int status = 400; status < 600; ++status) {
        const ApiError error(status, "c", "m");
        EXPECT_EQ(by_transport("/v1/messages", status), anthropic_error(error, "r")["error"]["type"])
            << status;
        for (const char* path : {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/nowhere"})
            EXPECT_EQ(by_transport(path, status), openai_error_json(error)["error"]["type"]) << status;
    }
    const std::tuple<int, const char*, const char*> documented[] = {
        {400, "invalid_request_error", "invalid_request_error"},
        {401, "authentication_error", "authentication_error"},
        {403, "permission_error", "permission_error"},
        {404, "not_found_error", "not_found_error"},
        {413, "invalid_request_error", "request_too_large"},
        {429, "rate_limit_error", "rate_limit_error"},
        {500, "server_error", "api_error"},
        {501, "not_implemented_error", "api_error"},
        {503, "service_unavailable_error", "overloaded_error"},
    };
    for (const auto& [status, openai, anthropic] : documented) {
        EXPECT_EQ(by_transport("/v1/completions", status), openai);
        EXPECT_EQ(by_transport("/v1/messages", status), anthropic);
    }
}

TEST(Exchange, EachAnswerOnce) {
    int wakes = 0;
    auto exchange = std::make_shared<Exchange>(Exchange::Options{}, [&] { ++wakes; });
    auto writer = Exchange::writer(exchange);
    writer->respond(200, "text/plain", "a", {{"x", "y\r\n\r\nz"}});
    writer->respond(500, "text/plain", "b");
    writer->start_stream();
    writer->write("c");
    writer.reset();
    std::string out;
    EXPECT_TRUE(exchange->take(out));
    EXPECT_EQ(wakes, 1);
    EXPECT_TRUE(out.ends_with("x: yz\r\n\r\na"));
    exchange->client_left();
    EXPECT_FALSE(exchange->client_gone());
    EXPECT_EQ(exchange->result().status, 200);
    EXPECT_TRUE(exchange->result().complete);
}

TEST(Audit, LinesCannotBeForged) {
    Served served;
    served.key_name = "anna";
    served.method = "POST";
    served.path = "/x\n{\"key\":\"root\"}\r\xff\x1b[31m";
    served.status = 404;
    served.request_text = "text";
    auto line = audit_line(served, false);
    EXPECT_EQ(line.find_first_of("\r\n\x1b"), std::string::npos);
    auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["key"], "anna");
    EXPECT_EQ(json["status"], 404);
    EXPECT_FALSE(json.contains("request"));
    EXPECT_FALSE(json.contains("prompt_tokens"));
    served.annotation = {"nano", 1, 0, 2};
    json = nlohmann::json::parse(audit_line(served, true));
    EXPECT_EQ(json["request"], "text");
    EXPECT_EQ(json["completion_tokens"], 2);
}

TEST(Audit, Appends) {
    auto path = std::filesystem::temp_directory_path() / fmt::format("cachalot-audit-{}", getpid());
    for (int i = 0; i < 2; ++i) AuditLog(path, false).write(Served());
    std::ifstream file(path);
    std::string line;
    int lines = 0;
    while (std::getline(file, line)) lines += nlohmann::json::accept(line);
    EXPECT_EQ(lines, 2);
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
    std::filesystem::remove(path);
    EXPECT_THROW(AuditLog("/no/such/folder/audit", false), Error);
}

TEST(Metrics, FollowsRequests) {
    Metrics metrics("nano");
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    auto first = metrics.request(Priority::interactive), second = metrics.request(Priority::normal);
    EXPECT_TRUE(has("cachalot_num_requests_waiting{model_name=\"nano\"} 2\n"));
    first->started(10, 4);
    first->token();
    first->token();
    EXPECT_TRUE(has("cachalot_num_requests_running{model_name=\"nano\"} 1\n"));
    first->finished("stop", 3);  // one of which was never seen
    EXPECT_TRUE(has("request_prefill_time_seconds_count{model_name=\"nano\"} 1\n"));
    EXPECT_TRUE(has("request_queue_time_seconds_count{model_name=\"nano\",priority=\"interactive\"} 1\n"));
    EXPECT_TRUE(has("request_queue_time_seconds_count{model_name=\"nano\",priority=\"background\"} 0\n"));
    EXPECT_TRUE(has("request_decode_time_seconds_count{model_name=\"nano\"} 1\n"));
    first.reset();
    second.reset();  // cancelled in the queue
    EXPECT_TRUE(has("num_requests_running{model_name=\"nano\"} 0\n"));
    EXPECT_TRUE(has("num_requests_waiting{model_name=\"nano\"} 0\n"));
    EXPECT_TRUE(has("prompt_tokens_total{model_name=\"nano\"} 10\n"));
    EXPECT_TRUE(has("prefix_cache_hits_total{model_name=\"nano\"} 4\n"));
    EXPECT_TRUE(has("generation_tokens_total{model_name=\"nano\"} 3\n"));
    EXPECT_TRUE(has("time_to_first_token_seconds_count{model_name=\"nano\"} 1\n"));
    EXPECT_TRUE(has("inter_token_latency_seconds_count{model_name=\"nano\"} 1\n"));
    EXPECT_TRUE(has("finished_reason=\"abort\"} 1\n"));
    metrics.http_request("BREW", "", 404, 0.1);
    EXPECT_TRUE(has("handler=\"other\",method=\"other\",status=\"404\"} 1\n"));
    EXPECT_NE(Metrics("m", "vllm:").text().find("\nvllm:num_requests_running"), std::string::npos);
    EXPECT_THROW(Metrics("m", "a-b"), Error);
}

TEST(Metrics, ShowTheCacheOfExpertsIfThereIsOne) {
    Metrics metrics("nano");
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    EXPECT_FALSE(has("expert_cache"));
    std::optional<ExpertCacheStats> stats;
    metrics.show_experts([&] { return stats; });
    EXPECT_FALSE(has("expert_cache"));
    stats.emplace();
    stats->slots = 64;
    stats->decode.hits = 12;
    stats->prompt.wait_seconds = 0.5;
    EXPECT_TRUE(has("cachalot_expert_cache_slots{model_name=\"nano\"} 64"));
    EXPECT_TRUE(has("cachalot_expert_cache_hits_total{model_name=\"nano\",phase=\"decode\"} 12"));
    EXPECT_TRUE(has("cachalot_expert_cache_wait_seconds_total{model_name=\"nano\",phase=\"prompt\"} 0.5"));
}

TEST(Metrics, ShowRowsOfEngramTablesIfTheyAreReadFromDisk) {
    Metrics metrics("nano");
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    std::optional<EngramStats> stats;
    metrics.show_engram([&] { return stats; });
    EXPECT_FALSE(has("engram_cache"));
    stats.emplace();
    stats->rows = 640;
    stats->decode.ahead = 12;
    stats->prompt.wait_seconds = 0.25;
    EXPECT_TRUE(has("cachalot_engram_cache_rows{model_name=\"nano\"} 640"));
    EXPECT_TRUE(has("cachalot_engram_cache_ahead_total{model_name=\"nano\",phase=\"decode\"} 12"));
    EXPECT_TRUE(has("cachalot_engram_cache_wait_seconds_total{model_name=\"nano\",phase=\"prompt\"} 0.25"));
}

TEST(Metrics, FollowsPasses) {
    Metrics metrics("nano");
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    metrics.pass({7, 100, 300, 400, 0, 2});
    metrics.pass({2, 200, 350, 400, 1, 5});
    EXPECT_TRUE(has("iteration_tokens_total_count{model_name=\"nano\"} 2\n"));
    EXPECT_TRUE(has("iteration_tokens_total_sum{model_name=\"nano\"} 9\n"));
    EXPECT_TRUE(has("cachalot_kv_cache_usage_perc{model_name=\"nano\"} 0.5\n"));
    EXPECT_TRUE(has("cachalot_kv_cache_bytes{model_name=\"nano\"} 350\n"));
    EXPECT_TRUE(has("cachalot_num_preemptions_total{model_name=\"nano\"} 1\n"));
    EXPECT_TRUE(has("cachalot_prefix_cache_evictions_total{model_name=\"nano\"} 5\n"));
}

TEST(Metrics, CountsDrafts) {
    Metrics metrics("nano");
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    PassReport report;
    report.drafts = {2, 9, 5, 0};
    metrics.pass(report);
    EXPECT_TRUE(has("cachalot_spec_decode_gain{model_name=\"nano\"} 0\n"));
    report.drafts = {3, 14, 8, 1.25};
    metrics.pass(report);
    EXPECT_TRUE(has("cachalot_spec_decode_num_drafts_total{model_name=\"nano\"} 3\n"));
    EXPECT_TRUE(has("cachalot_spec_decode_num_draft_tokens_total{model_name=\"nano\"} 14\n"));
    EXPECT_TRUE(has("cachalot_spec_decode_num_accepted_tokens_total{model_name=\"nano\"} 8\n"));
    EXPECT_TRUE(has("cachalot_spec_decode_gain{model_name=\"nano\"} 1.25\n"));
}

TEST(Metrics, UnderLlamacppNames) {
    Metrics metrics("nano", "cachalot_", true);
    auto has = [&](const char* line) { return metrics.text().find(line) != std::string::npos; };
    auto request = metrics.request(Priority::normal);
    request->started(10, 4);
    for (int i = 0; i < 4; ++i) metrics.pass({});
    EXPECT_TRUE(has("\nllamacpp:requests_processing 1\n"));
    request->token();
    request->finished("stop", 3);
    EXPECT_TRUE(has("\nllamacpp:prompt_tokens_total 6\n"));
    EXPECT_TRUE(has("\nllamacpp:tokens_predicted_total 3\n"));
    EXPECT_TRUE(has("\nllamacpp:n_decode_total 4\n"));
    EXPECT_TRUE(has("\nllamacpp:n_tokens_max 13\n"));
    EXPECT_TRUE(has("\nllamacpp:requests_processing 0\n"));
    EXPECT_FALSE(has("requests_deferred 1"));
    EXPECT_EQ(Metrics("m").text().find("llamacpp"), std::string::npos);
}

TEST(Metrics, AMeteredServiceSaysHowAnswersEnd) {
    Metrics metrics("nano");
    auto fake = std::make_unique<FakeService>();
    fake->events = {progress(50, 100), make_event(Kind::content, "a"), finished("tool_calls"), done()};
    fake->events.insert(fake->events.begin(), make_event(Kind::started));
    fake->events[0].usage = {100, 20, 0, 0};
    auto service = make_metered_service(std::move(fake), metrics);
    service->submit({}, [](const Event&) {});
    EXPECT_NE(metrics.text().find("finished_reason=\"tool_calls\"} 1\n"), std::string::npos);
    EXPECT_NE(metrics.text().find("generation_tokens_total{model_name=\"nano\"} 20\n"), std::string::npos);
}

class Recorder : public ResponseWriter {
  public:
    void respond(int s, std::string_view, std::string b, const Headers&) override { status = s, body = b; }
    void start_stream(const Headers&) override {}
    void write(std::string) override {}
    void finish() override {}
    bool client_gone() const override { return false; }
    int status = 0;
    std::string body;
};

TEST(Status, Routes) {
    Metrics metrics("nano");
    bool ready = false;
    std::string problem;
    StatusOptions options{"1.2", [&] { return ready; }, &metrics};
    options.problem = [&] { return problem; };
    Router router(status_routes(options));
    auto ask = [&](const char* method, const char* path) {
        auto writer = std::make_shared<Recorder>();
        auto match = router.find(method, path);
        HttpRequest request;
        request.path = path;
        if (match.route) match.route->endpoint(request, writer);
        return writer;
    };
    EXPECT_EQ(ask("GET", "/health")->status, 200);
    EXPECT_EQ(ask("GET", "/ready")->status, 503);
    ready = true;
    EXPECT_EQ(ask("GET", "/ready")->status, 200);
    problem = "/models/m.gguf: was changed";
    for (const char* path : {"/health", "/ready"}) {
        EXPECT_EQ(ask("GET", path)->status, 503);
        const auto error = nlohmann::json::parse(ask("GET", path)->body)["error"];
        EXPECT_EQ(error["code"], "model_changed");
        EXPECT_EQ(error["message"].get<std::string>().find('/'), std::string::npos);
    }
    problem.clear();
    EXPECT_EQ(ask("GET", "/health")->status, 200);
    EXPECT_EQ(ask("GET", "/version")->body, R"({"version":"1.2"})");
    EXPECT_EQ(ask("GET", "/")->status, 200);
    EXPECT_NE(ask("GET", "/metrics")->body.find("# TYPE"), std::string::npos);
    for (const char* path : {"/v1/embeddings", "/v1/rerank", "/rerank"}) {
        auto answer = ask("POST", path);
        EXPECT_EQ(answer->status, 501);
        EXPECT_TRUE(nlohmann::json::parse(answer->body)["error"].contains("message"));
    }
}

}  // namespace
}  // namespace cachalot::server
