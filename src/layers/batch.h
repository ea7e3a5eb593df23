// What one forward pass works on: a flat list of tokens of one or several sequences.
//
// Prefill chunks and decode steps go through the dense matrices together; attention looks at one segment after the
// other, experts at the rows that chose them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "state/kv_state.h"

namespace cachalot {

struct Segment {
    KvState* state = nullptr;  // its length is the position of the first token
    std::span<const std::int32_t> tokens;
    bool all_logits = false;  // of every token; else of the last one only
};

// The rows of one segment inside the batch.
struct BatchRows {
    KvState* state;
    int first;  // row of the batch
    int count;
    std::int64_t start;  // position of the first
};

}  // namespace cachalot
