#include "experts/expert_budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace cachalot {

double parse_bytes(std::string_view text, std::string_view what) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    std::string unit(end, text.data() + text.size());
    unit.erase(0, unit.find_first_not_of(' '));
    std::transform(unit.begin(), unit.end(), unit.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    const std::pair<std::string_view, double> units[] = {
        {"", 1},         {"b", 1},    {"k", 1e3},      {"kb", 1e3},    {"kib", 0x1p10},
        {"m", 1e6},      {"mb", 1e6}, {"mib", 0x1p20}, {"g", 1e9},     {"gb", 1e9},
        {"gib", 0x1p30}, {"t", 1e12}, {"tb", 1e12},    {"tib", 0x1p40}};
    for (const auto& [name, factor] : units)
        if (error == std::errc() && unit == name && value > 0 && value * factor < 1e18) return value * factor;
    fail("{} \"{}\" is no size, such as 8GB or 512MiB", what, text);
}

double parse_share(std::string_view text, std::string_view all, std::string_view what) {
    double percent = 0;
    const char* last = text.data() + text.size() - 1;
    const auto [end, error] = std::from_chars(text.data(), last, percent);
    if (error == std::errc() && end == last && percent > 100)
        fail("{} \"{}\" is more than {}; at most 100%", what, text, all);
    if (error != std::errc() || end != last || !(percent > 0))
        fail("{} \"{}\" is no share, such as 10%", what, text);
    return percent / 100;
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
    share_ = parse_share(text, "all experts", option);
}

int ExpertBudget::slots(const RouteHeader& header) const {
    const int slots = share_ > 0 ? static_cast<int>(std::lround(share_ * header.layers * header.experts))
                                 : slots_of(header, static_cast<std::uint64_t>(bytes_));
    if (slots == 0)
        fail("{} {}: not a single expert of {} bytes fits", option_, text_, header.largest_expert());
    return slots;
}

}  // namespace cachalot
