#include "cli/cache_sim_plot.h"

#include <algorithm>
#include <filesystem>

#include "cli/svg_figure.h"

namespace cachalot::cli {
namespace {

std::string colour_of(const std::string& policy) {
    if (policy == "belady") return "#000000";
    const auto& all = online_policies();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const PolicyInfo& p) { return p.name == policy; });
    return svg_colour(static_cast<std::size_t>(found - all.begin()));
}

double percent_of_experts(const TraceResult& t, const BudgetResult& b) {
    return 100.0 * b.slots / (static_cast<double>(t.header.layers) * t.header.experts);
}

SvgPanel panel(const TraceResult& t, double most) {
    SvgPanel panel;
    panel.title = std::filesystem::path(t.source).filename().string();
    if (panel.title.empty()) panel.title = t.source;
    if (!t.header.model.empty() && t.header.model != panel.title) panel.title += ": " + t.header.model;
    panel.x = linear_axis("share of the experts that fit", {0, most}, "{:.3g} %");
    std::vector<double> rates;
    for (const auto& b : t.budgets)
        for (const auto& p : b.policies) rates.push_back(100 * p.summary.hit_rate);
    panel.y = linear_axis("", rates, "{:.3g} %");
    // Below this an LRU finds nothing.
    const double floor = 100 * t.demand.per_token / (static_cast<double>(t.header.layers) * t.header.experts);
    if (floor < most) panel.marks = {{floor, "one token"}};
    auto budgets = t.budgets;
    std::sort(budgets.begin(), budgets.end(), [](const auto& a, const auto& b) { return a.slots < b.slots; });
    for (std::size_t p = 0; p < budgets.front().policies.size(); ++p) {
        const auto& name = budgets.front().policies[p].policy;
        SvgSeries series{name, colour_of(name), {}, name == kShippedPolicy ? 2.5 : 1.3};
        for (const auto& b : budgets)
            series.points.emplace_back(percent_of_experts(t, b), 100 * b.policies[p].summary.hit_rate);
        panel.series.push_back(std::move(series));
    }
    return panel;
}

}  // namespace

std::string plot_svg(const std::vector<TraceResult>& traces) {
    double most = 1;
    for (const auto& t : traces)
        for (const auto& b : t.budgets) most = std::max(most, percent_of_experts(t, b));
    std::vector<SvgPanel> panels;
    for (const auto& t : traces) panels.push_back(panel(t, most));
    return svg_figure(panels);
}

}  // namespace cachalot::cli
