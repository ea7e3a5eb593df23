// Where the time goes: nested spans, each with the bytes it read and the operations it did.
//
// Recorded by one thread, the one that runs the model; the pool's threads work inside of its spans. Without a trace
// nothing is recorded and nothing is paid.
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
    void begin(const char* name, int layer = -1);
    // Adds to the innermost open span.
    void count(std::int64_t bytes, std::int64_t operations, std::int64_t waits = 0);
    void end();

    const std::vector<TraceSpan>& spans() const { return spans_; }  // in the order in which they began

    // Chrome's trace event format, for chrome://tracing, Perfetto or speedscope.
    std::string chrome_json() const;

    // One line for each kind of span that no other lies in, named with the one around it: calls, time, share of the
    // whole, bytes and operations per second, waits for all threads; these also for each pass and layer in the end.
    std::string summary() const;

  private:
    using Clock = std::chrono::steady_clock;
    double now() const { return std::chrono::duration<double, std::micro>(Clock::now() - start_).count(); }

    Clock::time_point start_ = Clock::now();
    std::vector<TraceSpan> spans_;
    std::vector<std::size_t> open_;
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
