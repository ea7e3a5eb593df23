#include "experts/cache_floor.h"

#include <fmt/format.h>

namespace cachalot {

Floor floor_of(int slots, const TraceDemand& demand) {
    if (slots < demand.per_layer) return Floor::layer;
    if (slots < demand.per_token) return Floor::token;
    return slots < 1.25 * demand.per_token ? Floor::tight : Floor::none;
}

std::string expert_cache_warning(const ExpertCacheStats& s, const Config& c) {
    const TraceDemand demand{static_cast<double>(c.layers) * c.experts_per_token, c.experts_per_token};
    switch (floor_of(s.slots, demand)) {
        case Floor::none: return {};
        case Floor::tight:
            return fmt::format("the expert cache holds {} experts, little more than the {:.0f} of one token",
                               s.slots, demand.per_token);
        case Floor::token:
            return fmt::format(
                "the expert cache holds {} experts; one token uses {:.0f}, so most are read every time",
                s.slots, demand.per_token);
        case Floor::layer:
            return fmt::format(
                "the expert cache holds {} experts; one layer uses {}, so all are read every time", s.slots,
                demand.per_layer);
    }
    return {};
}

}  // namespace cachalot
