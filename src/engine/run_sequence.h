// One answer with nobody beside it, on a scheduler: it drafts, and what was kept of earlier answers is used
// again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/scheduler.h"

namespace cachalot {

// For one sequence at a time, with memory for the longest that there can be and for some states of earlier
// ones.
SchedulerOptions one_at_a_time(const Engine& engine, Drafting drafting, int longest_draft = kLongestDraft);

struct SequenceCallbacks {
    // Told of every event in turn; false ends the answer with it. What a pass has written beyond that does
    // not count.
    std::function<bool(const SequenceEvent&)> on_event;
    std::function<bool()> cancelled;  // asked before every pass; true ends the answer
};

struct SequenceRun {
    Timings timings;        // the pass that gave the first token has read the prompt
    std::string held_back;  // the end of the text, if the answer was ended by a callback
};

// Returns when the answer is finished. Throws what has made it fail, and what a callback throws.
SequenceRun run_sequence(Scheduler& scheduler, const std::shared_ptr<Sequence>& sequence,
                         const SequenceCallbacks& callbacks);

}  // namespace cachalot
