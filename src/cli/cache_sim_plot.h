// The hit rates of `cachalot cache-sim` as a picture.
#pragma once

#include <string>
#include <vector>

#include "cli/cache_sim_report.h"

namespace cachalot::cli {

// An SVG document: one panel for each trace, hit rate over the share of the experts that fit, a line for each
// policy.
std::string plot_svg(const std::vector<TraceResult>& traces);

}  // namespace cachalot::cli
