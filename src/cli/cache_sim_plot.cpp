#include "cli/cache_sim_plot.h"

#include <algorithm>
#include <array>

#include "cli/command.h"

namespace cachalot::cli {
namespace {

// Colours that are told apart also by most who see colours differently (after Paul Tol); Belady is black.
constexpr std::array kColours = {"#4477aa", "#66ccee", "#228833", "#bbbb44", "#aa7744",
                                 "#ddaa77", "#aa3377", "#8866cc", "#999999", "#ee3322"};
constexpr double kWidth = 420, kHeight = 300;  // of a panel's axes
constexpr double kLeft = 55, kTop = 40, kGap = 70, kLegend = 130;

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            default:
                // What is no printable ASCII may be no valid UTF-8 or XML either.
                out += c >= ' ' && c <= '~' ? c : '?';
        }
    return out;
}

std::string label(double x, double y, std::string_view anchor, std::string_view text) {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                       escaped(text));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view colour) {
    return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1,
                       y1, x2, y2, colour);
}

std::string colour_of(const std::string& policy) {
    if (policy == "belady") return "#000000";
    const auto& all = online_policies();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const PolicyInfo& p) { return p.name == policy; });
    return kColours[static_cast<std::size_t>(found - all.begin()) % kColours.size()];
}

double percent_of_experts(const TraceResult& t, const BudgetResult& b) {
    return 100.0 * b.slots / (static_cast<double>(t.header.layers) * t.header.experts);
}

std::string panel(const TraceResult& t, double left, double most) {
    auto x = [&](double percent) { return left + percent / most * kWidth; };
    auto y = [&](double rate) { return kTop + (1 - rate) * kHeight; };
    std::string svg = label(left, kTop - 14, "start", t.header.model.empty() ? t.source : t.header.model);
    for (int i = 0; i <= 5; ++i) {
        const double part = i / 5.0;
        svg += line(left, y(part), left + kWidth, y(part), "#dddddd");
        svg += label(left - 6, y(part) + 4, "end", fmt::format("{:.0f} %", 100 * part));
        svg += label(x(part * most), kTop + kHeight + 18, "middle", fmt::format("{:.3g} %", part * most));
    }
    svg += label(left + kWidth / 2, kTop + kHeight + 36, "middle", "share of the experts that fit");
    // Below this an LRU finds nothing.
    const double floor = 100 * t.demand.per_token / (static_cast<double>(t.header.layers) * t.header.experts);
    if (floor < most) {
        svg += line(x(floor), kTop, x(floor), kTop + kHeight, "#bbbbbb");
        svg += label(x(floor) + 4, kTop + kHeight - 6, "start", "one token");
    }
    auto budgets = t.budgets;
    std::sort(budgets.begin(), budgets.end(), [](const auto& a, const auto& b) { return a.slots < b.slots; });
    for (std::size_t p = 0; p < budgets.front().policies.size(); ++p) {
        const auto colour = colour_of(budgets.front().policies[p].policy);
        std::string points, dots;
        for (const auto& b : budgets) {
            const double px = x(percent_of_experts(t, b)), py = y(b.policies[p].summary.hit_rate);
            points += fmt::format("{:.1f},{:.1f} ", px, py);
            dots +=
                fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", px, py, colour);
        }
        svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
                           points, colour, budgets.front().policies[p].policy == kShippedPolicy ? 2.5 : 1.3);
        svg += dots;
    }
    return svg;
}

}  // namespace

std::string plot_svg(const std::vector<TraceResult>& traces) {
    double most = 1;
    for (const auto& t : traces)
        for (const auto& b : t.budgets) most = std::max(most, percent_of_experts(t, b));
    const double width = kLeft + static_cast<double>(traces.size()) * (kWidth + kGap) + kLegend;
    const double height = kTop + kHeight + 60;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width, height);
    double left = kLeft;
    for (const auto& t : traces) {
        svg += panel(t, left, most);
        left += kWidth + kGap;
    }
    double y = kTop + 6;
    left -= kGap - 20;
    for (const auto& p : traces.front().budgets.front().policies) {
        svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"20\" height=\"3\" fill=\"{}\"/>\n", left,
                           y - 1.5, colour_of(p.policy));
        svg += label(left + 26, y + 4, "start", p.policy);
        y += 18;
    }
    return svg + "</svg>\n";
}

}  // namespace cachalot::cli
