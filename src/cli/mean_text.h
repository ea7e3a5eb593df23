// Means with their confidence intervals, for people and programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "measure/statistics.h"

namespace cachalot::cli {

// The interval by a format of its two ends; nothing if there is none.
std::string interval_text(const Mean& mean, const std::string& format);

nlohmann::ordered_json interval_json(const Mean& mean);  // [low, high] or null
nlohmann::ordered_json mean_json(const Mean& mean);      // {"value", "interval"}

}  // namespace cachalot::cli
