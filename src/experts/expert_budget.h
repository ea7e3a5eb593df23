// How much memory the cache of experts may take, as people write it.
#pragma once

#include <string>
#include <string_view>

#include "experts/route_trace.h"

namespace cachalot {

// "8GB", "1.5 GiB", "300000": a number of bytes. `what` starts the message of an Error.
double parse_bytes(std::string_view text, std::string_view what);

// "25%", of `all` (a name for messages): 0.25. The text ends with the sign. `what` starts the message of an
// Error.
double parse_share(std::string_view text, std::string_view all, std::string_view what);

// The slots of a budget in bytes, at most as many as there are experts.
int slots_of(const RouteHeader& header, std::uint64_t budget);

// A size, or a share of all experts.
class ExpertBudget {
  public:
    // "8GB" or "25%". Throws Error, starting with `option`, for anything else.
    ExpertBudget(std::string_view text, std::string_view option);

    // Slots of the size of the largest expert. Throws Error if there is no room for one.
    int slots(const RouteHeader& header) const;

  private:
    std::string text_, option_;
    double share_ = 0;  // 0: `bytes_` counts
    double bytes_ = 0;
};

}  // namespace cachalot
