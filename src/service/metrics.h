// Counters and histograms in Prometheus' text format.
//
// The names after the prefix are those of vLLM, so that its dashboards work: with the prefix "vllm:" as they
// are. On request the same numbers appear under llama.cpp's names, too.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "experts/engram_store.h"
#include "experts/expert_store.h"
#include "prefix/disk_tier_stats.h"
#include "service/pass_report.h"

namespace cachalot {
enum class Priority;
}

namespace cachalot::server {

class RequestMeter;

class Metrics {
  public:
    // Throws Error: bad prefix.
    explicit Metrics(const std::string& model, const std::string& prefix = "cachalot_",
                     bool llamacpp_names = false);
    ~Metrics();

    std::string text() const;  // "text/plain; version=0.0.4"

    // Where the numbers of the cache of experts come from, if there is one; asked by text(), on any thread.
    void show_experts(std::function<std::optional<ExpertCacheStats>()> stats);
    // The same of rows of Engram tables.
    void show_engram(std::function<std::optional<EngramStats>()> stats);

    // Likewise the numbers of the prefixes on disk.
    void show_disk(std::function<std::optional<DiskTierStats>()> stats);

    // Likewise how many lines of the audit log, or of the log, could not be written. Once for each of them.
    enum class Lines : std::uint8_t { audit, log };
    void show_lost_lines(Lines of, std::function<std::int64_t()> lost);

    // One HTTP request that was answered. `route` is the pattern, not what a client sent: labels must stay
    // few.
    void http_request(std::string_view method, std::string_view route, int status, double seconds);

    // One request to the model, from now on waiting in the queue. Metrics must outlive the meter.
    std::unique_ptr<RequestMeter> request(Priority priority);

    // One pass of the model, and what its memory for attention states holds after it.
    void pass(const PassReport& report);

    void rejected(
        std::string_view reason);  // a request that was not admitted: "queue_full", "context_length_exceeded"

  private:
    friend class RequestMeter;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Follows one request: started(), token() for each piece of the answer, then finished(). Destroying it is
// always right: the gauges go back, and a request that did not finish counts as "abort". One thread at a
// time.
class RequestMeter {
  public:
    RequestMeter(Metrics::Impl& metrics, Priority priority);
    ~RequestMeter();
    void started(std::int64_t prompt_tokens, std::int64_t cached_tokens);
    void token();  // something of the answer became visible
    void finished(std::string_view reason,
                  std::int64_t completion_tokens);  // "stop", "length", "tool_calls", "error"

  private:
    using Clock = std::chrono::steady_clock;
    Metrics::Impl& metrics_;
    const Priority priority_;
    Clock::time_point queued_ = Clock::now(), started_at_{}, first_{}, last_{};
    bool started_ = false, finished_ = false;
    std::int64_t prompt_tokens_ = 0;
};

}  // namespace cachalot::server
