// Route traces that nobody recorded: for tests, and to compare policies on the shape of a model of which
// there is no trace. They rank policies; hit rates of real text they do not predict.
#pragma once

#include <cstdint>

#include "experts/route_trace.h"

namespace cachalot {

struct SyntheticTraceOptions {
    int layers = 8;
    int experts = 64;
    int top_k = 4;
    std::uint64_t expert_bytes = 1 << 20;
    int tokens = 256;
    int topics = 1;        // sequences one after the other, of tokens / topics tokens each
    int prompt = 0;        // tokens of a prompt before each of them
    double zipf = 1.0;     // popularity of the r-th favourite: 1 / r^zipf
    double repeat = 0.25;  // chance that an expert of the token before is chosen again
    std::uint64_t seed = 1;
};

// Every layer has its own order of favourites, and a new one for each topic, half of which is as before.
// Throws Error if the options make no sense.
RouteTrace synthetic_trace(const SyntheticTraceOptions& options);

}  // namespace cachalot
