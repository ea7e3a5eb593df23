// Replays a route trace against a cache policy: what the engine's cache would have read, when, and how long
// it would have waited. It drives the ExpertCache that the engine drives, in the same way, so that the
// counters are the engine's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experts/cache_floor.h"
#include "experts/expert_cache.h"
#include "experts/route_trace.h"

namespace cachalot {

// A disk that reads all missing experts of a layer together: one latency, then its bandwidth.
struct DiskModel {
    double bytes_per_second = 3e9;
    double latency = 1e-4;     // seconds
    double layer_compute = 0;  // seconds of a layer's own work that reads can hide behind
};

// What one pass that wrote answers cost.
struct PassCost {
    int tokens = 0;
    int lookups = 0, hits = 0;
    std::uint64_t bytes = 0;
    double stall = 0;              // seconds
    std::int64_t since_start = 0;  // answer tokens before it, since the trace began
    std::int64_t since_topic = 0;  // and since the sequence began
    bool first_topic = true;
};

struct Replay {
    ExpertCache::Counters decode, prompt;
    std::uint64_t evictions = 0;
    std::uint64_t prompt_bytes = 0;
    std::uint64_t unplaced =
        0;  // experts read and used without a slot: the cache is smaller than one layer needs
    std::vector<PassCost> passes;  // of answers
};

struct ReplaySummary {
    double hit_rate = 0;  // of decoding, 0..1; of nothing: 0
    // The same of the first 16 answer tokens of the first sequence, of those of later sequences, and of the
    // rest, where there are any.
    std::optional<double> cold_hit_rate, topic_hit_rate, settled_hit_rate;
    double bytes_mean = 0, bytes_p95 = 0;  // read per token
    double stall_mean = 0, stall_p95 = 0;  // seconds per token
};
inline constexpr int kSettling = 16;  // tokens after a start or a change of topic

// The keys of every lookup in the order in which a cache sees them.
std::vector<ExpertKey> lookups(const RouteTrace& trace);
TraceDemand demand(const RouteTrace& trace);

// `policy`: a name of make_policy or "belady". Throws Error as ExpertCache and make_policy do.
Replay replay(const RouteTrace& trace, int slots, std::string_view policy, const PolicyOptions& options = {},
              const DiskModel& disk = {});
ReplaySummary summarize(const Replay& replay);

// How much of the way from LRU to Belady a policy goes: 0 as LRU, 1 as Belady. 0 if they do not differ.
double gap_closed(double hit_rate, double lru, double belady);

// One trace after the other as one, each as new sequences. Throws Error if the shapes differ.
RouteTrace joined(const std::vector<RouteTrace>& traces);

}  // namespace cachalot
