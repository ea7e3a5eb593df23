// How the caches of experts and of Engram rows are shown.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/engine.h"

namespace cachalot::cli {

// What happened between two states of the same cache.
CacheTraffic difference(const CacheTraffic& before, const CacheTraffic& after);

// "63.1 % hits, 5.0 % read ahead, 1.41 GB read and 120.0 ms waited per token"
std::string traffic_text(const CacheTraffic& traffic);

// {"tokens", "lookups", "hits", "hit_rate", "ahead", "bytes_read_per_token", "wait_seconds_per_token"}
nlohmann::ordered_json traffic_json(const CacheTraffic& traffic);

// Lines "experts ...", as /stats of chat and --stats of run end with them.
std::string expert_cache_text(const ExpertCacheStats& stats);
nlohmann::ordered_json expert_cache_json(const ExpertCacheStats& stats);

// Lines "engram ...", likewise.
std::string engram_text(const EngramStats& stats);
nlohmann::ordered_json engram_json(const EngramStats& stats);

}  // namespace cachalot::cli
