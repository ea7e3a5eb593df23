// Where the time goes: nested spans, each with the bytes it read and the operations it did.
//
// Recorded by one thread, the one that runs the model; the pool's threads work inside of its spans. Without a
// trace nothing is recorded and nothing is paid. A trace holds a bounded number of spans: a program that runs
// for days would else fill the memory. The spans that no longer fit are counted.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace cachalot {

struct TraceSpan {
    const char* name;                        // a literal
    int layer;                               // -1: none
    int depth;                               // spans that it lies in
    double begin = 0, end = 0;               // microseconds since the trace began
    std::int64_t bytes = 0, operations = 0;  // of weights and cache read; multiplications and additions
    std::int64_t waits = 0;                  // times that all threads were waited for
};

class Trace {
  public:
    static constexpr std::size_t kMostSpans =
        2'000'000;  // some 140 MB; a few thousand passes of a large model

    explicit Trace(std::size_t most_spans = kMostSpans) : most_spans_(most_spans) {}

    void begin(const char* name, int layer = -1);
    // Adds to the innermost open span.
    void count(std::int64_t bytes, std::int64_t operations, std::int64_t waits = 0);
    void end();

    const std::vector<TraceSpan>& spans() const { return spans_; }  // in the order in which they began
    std::int64_t dropped() const { return dropped_; }  // spans that began when there was no room any more

    // Chrome's trace event format, for chrome://tracing, Perfetto or speedscope.
    std::string chrome_json() const;

    // One line for each kind of span that no other lies in, named with the one around it: calls, time, share
    // of the whole, bytes and operations per second, waits for all threads; these also for each pass and
    // layer in the end. Says how many spans were dropped, if any were.
    std::string summary() const;

  private:
    using Clock = std::chrono::steady_clock;
    double now() const { return std::chrono::duration<double, std::micro>(Clock::now() - start_).count(); }

    Clock::time_point start_ = Clock::now();
    std::vector<TraceSpan> spans_;
    std::size_t most_spans_;
    std::vector<std::size_t> open_;
    std::int64_t dropped_ = 0;
    int open_dropped_ = 0;  // open spans that lie in the last of open_, or in none, and are not recorded
};

// A span that ends with its scope; nothing if there is no trace.
class Traced {
  public:
    Traced(Trace* trace, const char* name, int layer = -1) : trace_(trace) {
        if (trace_) trace_->begin(name, layer);
    }
    ~Traced() {
        if (trace_) trace_->end();
    }
    Traced(const Traced&) = delete;
    Traced& operator=(const Traced&) = delete;

  private:
    Trace* trace_;
};

}  // namespace cachalot
