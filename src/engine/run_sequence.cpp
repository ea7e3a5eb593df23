#include "engine/run_sequence.h"

#include <algorithm>
#include <optional>

namespace cachalot {
namespace {

using Clock = std::chrono::steady_clock;

// States of earlier answers that are kept beside the longest that there can be.
constexpr std::int64_t kKeptStates = 8;

// Adds a pass to the half of the answer that it belongs to.
class Stopwatch {
  public:
    explicit Stopwatch(Timings& timings) : timings_(timings) {}
    void lap(bool first_token_seen, std::int64_t rows) {
        auto now = Clock::now();
        std::chrono::duration<double> taken = now - last_;
        last_ = now;
        (first_token_seen ? timings_.decode_seconds : timings_.prefill_seconds) += taken.count();
        (first_token_seen ? timings_.decode_tokens : timings_.prefill_tokens) += rows;
    }

  private:
    Timings& timings_;
    Clock::time_point last_ = Clock::now();
};

}  // namespace

SchedulerOptions one_at_a_time(const Engine& engine, Drafting drafting, int longest_draft) {
    SchedulerOptions options;
    options.drafting = drafting;
    options.longest_draft = longest_draft;
    options.parallel = 1;
    options.memory = Scheduler::least_memory(engine) + kKeptStates * engine.kv_pool()->layout().bytes_at(0);
    return options;
}

SequenceRun run_sequence(Scheduler& scheduler, const std::shared_ptr<Sequence>& sequence,
                         const SequenceCallbacks& callbacks) {
    SequenceRun run;
    const Generation& generation = sequence->generation();
    scheduler.submit(sequence);
    try {
        Stopwatch watch(run.timings);
        std::optional<std::size_t> end;  // where the answer is to end
        while (scheduler.busy() || end) {
            if (end || (callbacks.cancelled && callbacks.cancelled())) {
                run.held_back = scheduler.stop(sequence, end);
                break;
            }
            const bool writing = generation.completion_tokens() > 0;
            const auto events = scheduler.step();
            const auto wrote = std::count_if(events.begin(), events.end(), [](const SequenceEvent& event) {
                return event.kind == SequenceEvent::Kind::wrote;
            });
            watch.lap(writing, writing ? wrote : scheduler.rows());
            for (auto event = events.begin(); event != events.end() && !end; ++event) {
                if (event->error) std::rethrow_exception(event->error);
                if (callbacks.on_event && !callbacks.on_event(*event))
                    end = event->kind == SequenceEvent::Kind::wrote ? event->length
                                                                    : generation.prompt_tokens();
            }
        }
    } catch (...) {
        scheduler.stop(sequence);
        throw;
    }
    return run;
}

}  // namespace cachalot
