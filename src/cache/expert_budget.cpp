#include "cache/expert_budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace cachalot {

double parse_bytes(std::string_view text, std::string_view what) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    while (unit.starts_with(' ')) unit.remove_prefix(1);
    const std::pair<std::string_view, double> units[] = {
        {"", 1},      {"B", 1},        {"kB", 1e3},     {"KB", 1e3},     {"MB", 1e6},    {"GB", 1e9},
        {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    for (const auto& [name, factor] : units)
        if (error == std::errc() && unit == name && value > 0 && value * factor < 1e18) return value * factor;
    fail("{} \"{}\" is no size, such as 8GB or 512MiB", what, text);
}

int slots_of(const RouteHeader& header, std::uint64_t budget) {
    const auto all = static_cast<std::uint64_t>(header.layers) * static_cast<std::uint64_t>(header.experts);
    return static_cast<int>(std::min(all, budget / header.largest_expert()));
}

ExpertBudget::ExpertBudget(std::string_view text, std::string_view option) : text_(text), option_(option) {
    if (!text.ends_with('%')) {
        bytes_ = parse_bytes(text, option);
        return;
    }
    double percent = 0;
    const char* last = text.data() + text.size() - 1;
    const auto [end, error] = std::from_chars(text.data(), last, percent);
    if (error != std::errc() || end != last || !(percent > 0 && percent <= 100))
        fail("{} \"{}\" is no share, such as 10%", option, text);
    share_ = percent / 100;
}

int ExpertBudget::slots(const RouteHeader& header) const {
    const int slots = share_ > 0 ? static_cast<int>(std::lround(share_ * header.layers * header.experts))
                                 : slots_of(header, static_cast<std::uint64_t>(bytes_));
    if (slots == 0)
        fail("{} {}: not a single expert of {} bytes fits", option_, text_, header.largest_expert());
    return slots;
}

}  // namespace cachalot
