// What `cachalot cache-sim` found, as tables and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "measure/cache_simulator.h"

namespace cachalot::cli {

struct PolicyResult {
    std::string policy;
    Replay replay;
    ReplaySummary summary;
    double gap_closed = 0;  // of the way from LRU (0) to Belady (1)
};

struct BudgetResult {
    std::string budget;  // as the user wrote it
    int slots = 0;
    Floor floor = Floor::none;
    std::vector<PolicyResult> policies;
};

struct TraceResult {
    std::string source;
    RouteHeader header;
    TraceDemand demand;
    std::size_t prompt_tokens = 0, answer_tokens = 0;
    bool has_topics = false;
    std::vector<BudgetResult> budgets;
};

// A line about what a floor means, empty for Floor::none.
std::string explain(Floor floor);

// The lines to print, each with its end.
std::string report_text(const std::vector<TraceResult>& traces);
nlohmann::ordered_json report_json(const std::vector<TraceResult>& traces, const DiskModel& disk);

}  // namespace cachalot::cli
