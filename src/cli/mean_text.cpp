#include "cli/mean_text.h"

#include <fmt/format.h>

namespace cachalot::cli {

std::string interval_text(const Mean& mean, const std::string& format) {
    return mean.interval ? fmt::format(fmt::runtime(format), mean.interval->low, mean.interval->high) : "";
}

nlohmann::ordered_json interval_json(const Mean& mean) {
    if (!mean.interval) return nullptr;
    return nlohmann::ordered_json::array({mean.interval->low, mean.interval->high});
}

nlohmann::ordered_json mean_json(const Mean& mean) {
    return {{"value", mean.value}, {"interval", interval_json(mean)}};
}

}  // namespace cachalot::cli
