// How small a cache of experts may be before no policy can do much.
#pragma once

#include <string>

#include "experts/expert_store.h"
#include "model/config.h"

namespace cachalot {

// Experts that answers need: what decides whether a cache can work at all.
struct TraceDemand {
    double per_token = 0;  // experts of a mean answer token
    int per_layer = 0;     // most of one layer and pass
};

// Where no policy can do much, whatever the traffic.
enum class Floor {
    none,
    tight,  // less than 1.25 tokens' experts: what a token leaves is half gone when the next one comes
    token,  // less than one token needs: plain LRU finds nothing at all
    layer,  // less than one layer needs: its experts push each other out
};
Floor floor_of(int slots, const TraceDemand& demand);

// What is wrong with so few slots, whatever the traffic; empty if nothing is.
std::string expert_cache_warning(const ExpertCacheStats& stats, const Config& config);

}  // namespace cachalot
