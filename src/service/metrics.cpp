#include "service/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/error.h"
#include "engine/scheduler.h"

namespace cachalot::server {
namespace {

using prometheus::Histogram;

const char* name(Priority priority) {
    switch (priority) {
        case Priority::interactive: return "interactive";
        case Priority::normal: return "normal";
        case Priority::background: return "background";
    }
    CACHALOT_CHECK(!"a value of Priority");
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

const Histogram::BucketBoundaries kTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                                   0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5};
const Histogram::BucketBoundaries kRequestSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,   2.5, 5,
                                                     10,   20,    40,   80,  160,  320, 640, 1280};

const Histogram::BucketBoundaries kIterationTokens = {1,   8,   16,   32,   64,   128,
                                                      256, 512, 1024, 2048, 4096, 8192};

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

    const bool llamacpp_names;

    Impl(const std::string& model, const std::string& prefix_, bool llamacpp)
        : prefix(checked_prefix(prefix_)), labels{{"model_name", model}}, llamacpp_names(llamacpp) {
        for (auto priority : {Priority::interactive, Priority::normal, Priority::background})
            queue.Add({{"priority", name(priority)}}, kRequestSeconds);
    }

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
    prometheus::Gauge& cache_usage =
        gauge("kv_cache_usage_perc",
              "Share of the memory for attention states that running requests fill, 0 to 1.");
    prometheus::Gauge& cache_bytes =
        gauge("kv_cache_bytes", "Memory that attention states take, with prefixes that are only kept.");
    prometheus::Counter& preemptions =
        counters("num_preemptions_total", "Running requests that went back to the queue for want of memory.")
            .Add({});
    prometheus::Counter& drafts =
        counters("spec_decode_num_drafts_total", "Drafts that were verified.").Add({});
    prometheus::Counter& drafted =
        counters("spec_decode_num_draft_tokens_total", "Tokens that were drafted and verified.").Add({});
    prometheus::Counter& accepted =
        counters("spec_decode_num_accepted_tokens_total", "Drafted tokens that were written.").Add({});
    prometheus::Gauge& draft_gain =
        gauge("spec_decode_gain", "How many times as fast answers are as without drafts; 0: not known.");
    prometheus::Counter& evictions =
        counters("prefix_cache_evictions_total", "Kept prefixes that were given up for want of memory.")
            .Add({});
    prometheus::Counter& prompt_tokens =
        counters("prompt_tokens_total", "Tokens of prompts, cached ones included.").Add({});
    prometheus::Counter& generation_tokens =
        counters("generation_tokens_total", "Tokens of answers.").Add({});
    prometheus::Counter& cache_queries =
        counters("prefix_cache_queries_total", "Tokens of prompts looked up in the prefix cache.").Add({});
    prometheus::Counter& cache_hits =
        counters("prefix_cache_hits_total", "Tokens of prompts found in the prefix cache.").Add({});
    prometheus::Family<prometheus::Counter>& tier_hits = counters(
        "prefix_cache_hit_tokens_total", "Tokens of prompts found in the prefix cache, by where they were.");
    prometheus::Counter& memory_hits = tier_hits.Add({{"tier", "ram"}});
    prometheus::Counter& disk_hits = tier_hits.Add({{"tier", "disk"}});
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
    prometheus::Family<Histogram>& queue = prometheus::BuildHistogram()
                                               .Name(prefix + "request_queue_time_seconds")
                                               .Help("Time in the queue, by priority.")
                                               .Labels(labels)
                                               .Register(registry);
    Histogram& prefill =
        histogram("request_prefill_time_seconds", "From the queue to the first token.", kRequestSeconds);
    Histogram& decode = histogram("request_decode_time_seconds",
                                  "From the first token to the end of the answer.", kRequestSeconds);
    Histogram& iteration_tokens =
        histogram("iteration_tokens_total", "Tokens that one pass of the model took.", kIterationTokens);
    prometheus::Family<prometheus::Counter>& http_requests =
        counters("http_requests_total", "HTTP requests by route and status.");
    prometheus::Family<Histogram>& http_seconds = prometheus::BuildHistogram()
                                                      .Name(prefix + "http_request_duration_seconds")
                                                      .Help("Duration of HTTP requests by route.")
                                                      .Labels(labels)
                                                      .Register(registry);
    std::atomic<std::int64_t> longest{0};  // request so far, in tokens

    mutable std::mutex shown_mutex;                            // of what follows
    std::function<std::optional<ExpertCacheStats>()> experts;  // may be empty
    std::function<std::optional<EngramStats>()> engram;        // may be empty
    std::function<std::optional<DiskTierStats>()> disk;        // likewise
    struct LostLines {
        const char *name, *help;
        std::function<std::int64_t()> count;
    };
    std::vector<LostLines> lost_lines;

    // A number that is asked for when metrics are shown, with the label of the others.
    prometheus::MetricFamily one(const char* name, const char* help, prometheus::MetricType type,
                                 std::int64_t value) const;
    std::vector<prometheus::MetricFamily> under_llamacpp_names() const;
    template <class Stats>
    prometheus::MetricFamily by_phase(const Stats& stats, const char* name, const char* help,
                                      double (*value)(const CacheTraffic&)) const;
    std::vector<prometheus::MetricFamily> of_experts() const;
    std::vector<prometheus::MetricFamily> of_engram() const;
    std::vector<prometheus::MetricFamily> of_disk() const;
    std::vector<prometheus::MetricFamily> of_logs() const;
};

namespace {

prometheus::MetricFamily family(const char* name, const char* help, prometheus::MetricType type,
                                double value) {
    prometheus::ClientMetric metric;
    (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    return {name, help, type, {metric}};
}

}  // namespace

prometheus::MetricFamily Metrics::Impl::one(const char* name, const char* help, prometheus::MetricType type,
                                            std::int64_t value) const {
    auto made = family(name, help, type, static_cast<double>(value));
    made.name = prefix + name;
    made.metric.front().label = {{"model_name", labels.at("model_name")}};
    return made;
}

std::vector<prometheus::MetricFamily> Metrics::Impl::under_llamacpp_names() const {
    using Type = prometheus::MetricType;
    auto sum = [](const Histogram& h) { return h.Collect().histogram.sample_sum; };
    auto ratio = [](double count, double seconds) { return seconds > 0 ? count / seconds : 0; };
    const double read = prompt_tokens.Value() - cache_hits.Value(), written = generation_tokens.Value();
    const double reading = sum(prefill), writing = sum(decode);
    const auto passes = static_cast<double>(iteration_tokens.Collect().histogram.sample_count);
    return {
        family("llamacpp:prompt_tokens_total", "Tokens of prompts that were evaluated.", Type::Counter, read),
        family("llamacpp:prompt_seconds_total", "Time for prompts.", Type::Counter, reading),
        family("llamacpp:tokens_predicted_total", "Tokens of answers.", Type::Counter, written),
        family("llamacpp:tokens_predicted_seconds_total", "Time for answers.", Type::Counter, writing),
        family("llamacpp:n_decode_total", "Passes of the model.", Type::Counter, passes),
        family("llamacpp:n_tokens_max", "Tokens of the longest request.", Type::Counter,
               static_cast<double>(longest.load())),
        family("llamacpp:prompt_tokens_seconds", "Tokens of prompts per second, on average.", Type::Gauge,
               ratio(read, reading)),
        family("llamacpp:predicted_tokens_seconds", "Tokens of answers per second, on average.", Type::Gauge,
               ratio(written, writing)),
        family("llamacpp:requests_processing", "Requests that the model is answering.", Type::Gauge,
               running.Value()),
        family("llamacpp:requests_deferred", "Requests in the queue.", Type::Gauge, waiting.Value()),
    };
}

// The phases are those in which tokens were evaluated: "prompt" and "decode".
template <class Stats>
prometheus::MetricFamily Metrics::Impl::by_phase(const Stats& stats, const char* name, const char* help,
                                                 double (*value)(const CacheTraffic&)) const {
    prometheus::MetricFamily family{prefix + name, help, prometheus::MetricType::Counter, {}};
    for (const auto& [phase, traffic] :
         {std::pair<const char*, const CacheTraffic&>{"prompt", stats.prompt}, {"decode", stats.decode}}) {
        prometheus::ClientMetric metric;
        metric.label = {{"model_name", labels.at("model_name")}, {"phase", phase}};
        metric.counter.value = value(traffic);
        family.metric.push_back(metric);
    }
    return family;
}

std::vector<prometheus::MetricFamily> Metrics::Impl::of_experts() const {
    using Type = prometheus::MetricType;
    using Traffic = CacheTraffic;
    std::lock_guard lock(shown_mutex);
    const auto stats = experts ? experts() : std::nullopt;
    if (!stats) return {};
    return {
        one("expert_cache_slots", "Experts that fit into the cache.", Type::Gauge, stats->slots),
        one("expert_cache_failed_reads_total", "Experts that could not be read, or only from another file.",
            Type::Counter, stats->failed_reads),
        by_phase(*stats, "expert_cache_tokens_total", "Tokens that were evaluated with the cache of experts.",
                 [](const Traffic& t) { return static_cast<double>(t.tokens); }),
        by_phase(*stats, "expert_cache_queries_total", "Experts looked up in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.lookups); }),
        by_phase(*stats, "expert_cache_hits_total", "Experts found in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.hits); }),
        by_phase(*stats, "expert_cache_ahead_total",
                 "Experts not in the cache, but read ahead of the router's choice.",
                 [](const Traffic& t) { return static_cast<double>(t.ahead); }),
        by_phase(*stats, "expert_cache_read_bytes_total",
                 "Read from disk for experts that were not in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.bytes_read); }),
        by_phase(*stats, "expert_cache_wait_seconds_total",
                 "Time in which nothing could be computed before an expert was read.",
                 [](const Traffic& t) { return t.wait_seconds; })};
}

std::vector<prometheus::MetricFamily> Metrics::Impl::of_engram() const {
    using Type = prometheus::MetricType;
    using Traffic = CacheTraffic;
    std::lock_guard lock(shown_mutex);
    const auto stats = engram ? engram() : std::nullopt;
    if (!stats) return {};
    return {
        one("engram_cache_rows", "Rows of Engram tables that fit into the cache.", Type::Gauge, stats->rows),
        by_phase(*stats, "engram_cache_tokens_total",
                 "Tokens that were evaluated with Engram tables on disk.",
                 [](const Traffic& t) { return static_cast<double>(t.tokens); }),
        by_phase(*stats, "engram_cache_queries_total", "Engram rows looked up in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.lookups); }),
        by_phase(*stats, "engram_cache_hits_total", "Engram rows found in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.hits); }),
        by_phase(*stats, "engram_cache_ahead_total",
                 "Engram rows not in the cache, but read before their layer was computed.",
                 [](const Traffic& t) { return static_cast<double>(t.ahead); }),
        by_phase(*stats, "engram_cache_read_bytes_total",
                 "Read from disk for Engram rows that were not in the cache.",
                 [](const Traffic& t) { return static_cast<double>(t.bytes_read); }),
        by_phase(*stats, "engram_cache_wait_seconds_total", "Time in which a layer waited for Engram rows.",
                 [](const Traffic& t) { return t.wait_seconds; })};
}

std::vector<prometheus::MetricFamily> Metrics::Impl::of_disk() const {
    using Type = prometheus::MetricType;
    std::lock_guard lock(shown_mutex);
    const auto stats = disk ? disk() : std::nullopt;
    if (!stats) return {};
    return {one("kv_disk_bytes", "Attention states of prefixes on disk.", Type::Gauge, stats->bytes),
            one("kv_disk_written_total", "Prefixes written to disk.", Type::Counter, stats->written),
            one("kv_disk_skipped_total", "Prefixes not written because too much waited to be.", Type::Counter,
                stats->skipped),
            one("kv_disk_evictions_total", "Prefixes on disk that made room for others.", Type::Counter,
                stats->evictions),
            one("kv_disk_write_errors_total", "Prefixes that could not be written to disk.", Type::Counter,
                stats->write_errors),
            one("kv_disk_read_errors_total", "Records on disk that could not be read or were damaged.",
                Type::Counter, stats->read_errors)};
}

std::vector<prometheus::MetricFamily> Metrics::Impl::of_logs() const {
    std::lock_guard lock(shown_mutex);
    std::vector<prometheus::MetricFamily> shown;
    for (const auto& lost : lost_lines)
        shown.push_back(one(lost.name, lost.help, prometheus::MetricType::Counter, lost.count()));
    return shown;
}

Metrics::Metrics(const std::string& model, const std::string& prefix, bool llamacpp_names)
    : impl_(std::make_unique<Impl>(model, prefix, llamacpp_names)) {}
Metrics::~Metrics() = default;

std::string Metrics::text() const {
    auto families = impl_->registry.Collect();
    if (impl_->llamacpp_names)
        for (auto& family : impl_->under_llamacpp_names()) families.push_back(std::move(family));
    for (auto& family : impl_->of_experts()) families.push_back(std::move(family));
    for (auto& family : impl_->of_engram()) families.push_back(std::move(family));
    for (auto& family : impl_->of_disk()) families.push_back(std::move(family));
    for (auto& family : impl_->of_logs()) families.push_back(std::move(family));
    return prometheus::TextSerializer().Serialize(families);
}

void Metrics::show_experts(std::function<std::optional<ExpertCacheStats>()> stats) {
    std::lock_guard lock(impl_->shown_mutex);
    impl_->experts = std::move(stats);
}
void Metrics::show_engram(std::function<std::optional<EngramStats>()> stats) {
    std::lock_guard lock(impl_->shown_mutex);
    impl_->engram = std::move(stats);
}

void Metrics::show_disk(std::function<std::optional<DiskTierStats>()> stats) {
    std::lock_guard lock(impl_->shown_mutex);
    impl_->disk = std::move(stats);
}

void Metrics::show_lost_lines(Lines of, std::function<std::int64_t()> lost) {
    std::lock_guard lock(impl_->shown_mutex);
    if (of == Lines::audit)
        impl_->lost_lines.push_back(
            {"audit_lines_lost_total", "Lines of the audit log that could not be written.", std::move(lost)});
    else
        impl_->lost_lines.push_back(
            {"log_lines_lost_total", "Lines of the log that could not be written.", std::move(lost)});
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

std::unique_ptr<RequestMeter> Metrics::request(Priority priority) {
    return std::make_unique<RequestMeter>(*impl_, priority);
}

void Metrics::rejected(std::string_view reason) {
    impl_->rejections.Add({{"reason", std::string(reason)}}).Increment();
}

void Metrics::pass(const PassReport& report) {
    auto& m = *impl_;
    m.iteration_tokens.Observe(static_cast<double>(report.rows));
    m.cache_bytes.Set(static_cast<double>(report.held_bytes));
    // Pages that running requests share are counted for each.
    if (report.memory > 0)
        m.cache_usage.Set(
            std::min(static_cast<double>(report.running_bytes) / static_cast<double>(report.memory), 1.0));
    m.preemptions.Increment(static_cast<double>(report.preemptions) - m.preemptions.Value());
    m.drafts.Increment(static_cast<double>(report.drafts.drafts) - m.drafts.Value());
    m.drafted.Increment(static_cast<double>(report.drafts.drafted) - m.drafted.Value());
    m.accepted.Increment(static_cast<double>(report.drafts.accepted) - m.accepted.Value());
    m.draft_gain.Set(report.drafts.gain);
    m.evictions.Increment(static_cast<double>(report.evictions) - m.evictions.Value());
    m.memory_hits.Increment(static_cast<double>(report.hits_in_memory) - m.memory_hits.Value());
    m.disk_hits.Increment(static_cast<double>(report.hits_on_disk) - m.disk_hits.Value());
}

RequestMeter::RequestMeter(Metrics::Impl& metrics, Priority priority)
    : metrics_(metrics), priority_(priority) {
    metrics_.waiting.Increment();
}

RequestMeter::~RequestMeter() { finished("abort", 0); }

void RequestMeter::started(std::int64_t prompt_tokens, std::int64_t cached_tokens) {
    if (started_ || finished_) return;
    started_ = true;
    started_at_ = Clock::now();
    prompt_tokens_ = prompt_tokens;
    metrics_.waiting.Decrement();
    metrics_.running.Increment();
    metrics_.queue.Add({{"priority", name(priority_)}}, kRequestSeconds).Observe(seconds_since(queued_));
    metrics_.prompt_tokens.Increment(static_cast<double>(prompt_tokens));
    metrics_.cache_queries.Increment(static_cast<double>(prompt_tokens));
    metrics_.cache_hits.Increment(static_cast<double>(cached_tokens));
}

void RequestMeter::token() {
    if (!started_ || finished_) return;
    auto now = Clock::now();
    if (first_ == Clock::time_point()) {
        first_ = now;
        metrics_.first_token.Observe(std::chrono::duration<double>(now - queued_).count());
        metrics_.prefill.Observe(std::chrono::duration<double>(now - started_at_).count());
    } else {
        metrics_.next_token.Observe(std::chrono::duration<double>(now - last_).count());
    }
    last_ = now;
}

void RequestMeter::finished(std::string_view reason, std::int64_t completion_tokens) {
    if (finished_) return;
    for (auto longest = metrics_.longest.load(), held = prompt_tokens_ + completion_tokens;
         longest < held && !metrics_.longest.compare_exchange_weak(longest, held);) {
    }
    finished_ = true;
    (started_ ? metrics_.running : metrics_.waiting).Decrement();
    metrics_.generation_tokens.Increment(static_cast<double>(completion_tokens));
    metrics_.end_to_end.Observe(seconds_since(queued_));
    if (first_ != Clock::time_point()) metrics_.decode.Observe(seconds_since(first_));
    metrics_.success.Add({{"finished_reason", std::string(reason)}}).Increment();
}

}  // namespace cachalot::server
