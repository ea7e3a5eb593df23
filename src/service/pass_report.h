// A pass of the model, and where things stand after it.
#pragma once

#include <cstdint>

#include "engine/drafting.h"

namespace cachalot::server {

struct PassReport {
    std::int64_t rows = 0;                        // tokens that it took
    std::int64_t running_bytes = 0;               // of the states of running sequences
    std::int64_t held_bytes = 0;                  // of all states, those that are only kept included
    std::int64_t memory = 0;                      // the most that they may take
    std::int64_t preemptions = 0, evictions = 0;  // so far
    DraftFigures drafts = {};
    std::int64_t hits_in_memory = 0, hits_on_disk = 0;  // tokens of prompts that were found, so far
};

}  // namespace cachalot::server
