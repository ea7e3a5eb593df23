#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

#include "base/error.h"

namespace cachalot::server {
namespace {

using prometheus::Histogram;

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

const Histogram::BucketBoundaries kTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                                   0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5};
const Histogram::BucketBoundaries kRequestSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,   2.5, 5,
                                                     10,   20,    40,   80,  160,  320, 640, 1280};

const std::string& checked_prefix(const std::string& prefix) {
    auto good = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == ':';
    };
    if (!std::all_of(prefix.begin(), prefix.end(), good) ||
        (!prefix.empty() && prefix[0] >= '0' && prefix[0] <= '9'))
        fail("metrics prefix {}: only letters, digits, '_' and ':' may be used", prefix);
    return prefix;
}

}  // namespace

struct Metrics::Impl {
    prometheus::Registry registry;
    std::string prefix;
    prometheus::Labels labels;

    Impl(const std::string& model, const std::string& prefix_)
        : prefix(checked_prefix(prefix_)), labels{{"model_name", model}} {}

    prometheus::Family<prometheus::Counter>& counters(const char* name, const char* help) {
        return prometheus::BuildCounter().Name(prefix + name).Help(help).Labels(labels).Register(registry);
    }
    prometheus::Gauge& gauge(const char* name, const char* help) {
        return prometheus::BuildGauge()
            .Name(prefix + name)
            .Help(help)
            .Labels(labels)
            .Register(registry)
            .Add({});
    }
    Histogram& histogram(const char* name, const char* help, const Histogram::BucketBoundaries& buckets) {
        return prometheus::BuildHistogram()
            .Name(prefix + name)
            .Help(help)
            .Labels(labels)
            .Register(registry)
            .Add({}, buckets);
    }

    prometheus::Gauge& running = gauge("num_requests_running", "Requests that the model is answering.");
    prometheus::Gauge& waiting = gauge("num_requests_waiting", "Requests in the queue.");
    prometheus::Counter& prompt_tokens =
        counters("prompt_tokens_total", "Tokens of prompts, cached ones included.").Add({});
    prometheus::Counter& generation_tokens =
        counters("generation_tokens_total", "Tokens of answers.").Add({});
    prometheus::Counter& cache_queries =
        counters("prefix_cache_queries_total", "Tokens of prompts looked up in the prefix cache.").Add({});
    prometheus::Counter& cache_hits =
        counters("prefix_cache_hits_total", "Tokens of prompts found in the prefix cache.").Add({});
    prometheus::Family<prometheus::Counter>& success =
        counters("request_success_total", "Requests that ended, by reason.");
    prometheus::Family<prometheus::Counter>& rejections =
        counters("admission_rejections_total", "Requests that were not admitted, by reason.");
    Histogram& first_token = histogram("time_to_first_token_seconds",
                                       "From the request to the answer's first token.", kRequestSeconds);
    Histogram& next_token =
        histogram("inter_token_latency_seconds", "Between two tokens of an answer.", kTokenSeconds);
    Histogram& end_to_end = histogram("e2e_request_latency_seconds",
                                      "From the request to the end of the answer.", kRequestSeconds);
    Histogram& queue = histogram("request_queue_time_seconds", "Time in the queue.", kRequestSeconds);
    prometheus::Family<prometheus::Counter>& http_requests =
        counters("http_requests_total", "HTTP requests by route and status.");
    prometheus::Family<Histogram>& http_seconds = prometheus::BuildHistogram()
                                                      .Name(prefix + "http_request_duration_seconds")
                                                      .Help("Duration of HTTP requests by route.")
                                                      .Labels(labels)
                                                      .Register(registry);
};

Metrics::Metrics(const std::string& model, const std::string& prefix)
    : impl_(std::make_unique<Impl>(model, prefix)) {}
Metrics::~Metrics() = default;

std::string Metrics::text() const {
    return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

void Metrics::http_request(std::string_view method, std::string_view route, int status, double seconds) {
    constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"};
    std::string known(
        std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods) ? method : "other");
    std::string handler(route.empty() ? "other" : route);
    impl_->http_requests.Add({{"method", known}, {"handler", handler}, {"status", std::to_string(status)}})
        .Increment();
    impl_->http_seconds.Add({{"handler", handler}}, kRequestSeconds).Observe(seconds);
}

std::unique_ptr<RequestMeter> Metrics::request() { return std::make_unique<RequestMeter>(*impl_); }

void Metrics::rejected(std::string_view reason) {
    impl_->rejections.Add({{"reason", std::string(reason)}}).Increment();
}

RequestMeter::RequestMeter(Metrics::Impl& metrics) : metrics_(metrics) { metrics_.waiting.Increment(); }

RequestMeter::~RequestMeter() { finished("abort", 0); }

void RequestMeter::started(std::int64_t prompt_tokens, std::int64_t cached_tokens) {
    if (started_ || finished_) return;
    started_ = true;
    metrics_.waiting.Decrement();
    metrics_.running.Increment();
    metrics_.queue.Observe(seconds_since(queued_));
    metrics_.prompt_tokens.Increment(static_cast<double>(prompt_tokens));
    metrics_.cache_queries.Increment(static_cast<double>(prompt_tokens));
    metrics_.cache_hits.Increment(static_cast<double>(cached_tokens));
}

void RequestMeter::token(std::int64_t count) {
    if (finished_ || count <= 0) return;
    auto now = Clock::now();
    if (last_ == Clock::time_point())
        metrics_.first_token.Observe(std::chrono::duration<double>(now - queued_).count());
    else
        for (std::int64_t i = 0; i < count; ++i)
            metrics_.next_token.Observe(std::chrono::duration<double>(now - last_).count() /
                                        static_cast<double>(count));
    last_ = now;
}

void RequestMeter::finished(std::string_view reason, std::int64_t completion_tokens) {
    if (finished_) return;
    finished_ = true;
    (started_ ? metrics_.running : metrics_.waiting).Decrement();
    metrics_.generation_tokens.Increment(static_cast<double>(completion_tokens));
    metrics_.end_to_end.Observe(seconds_since(queued_));
    metrics_.success.Add({{"finished_reason", std::string(reason)}}).Increment();
}

}  // namespace cachalot::server
