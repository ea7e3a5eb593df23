#include "cli/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "cli/mean_text.h"
#include "cli/svg_figure.h"

namespace cachalot::cli {

std::string compare_text(const Compared& c) {
    const Comparison& r = c.result;
    std::string text =
        fmt::format("A: {}\nB: {}\n{}: {} tokens in windows of {}\n\n", c.a, c.b, c.text, r.tokens, c.window);
    text += fmt::format("nll         A {:.5f}   B {:.5f}   B - A {:+.5f}{}\n", r.nll_a.value, r.nll_b.value,
                        r.nll_difference.value, interval_text(r.nll_difference, "  [{:+.5f}, {:+.5f}]"));
    text += fmt::format("perplexity  A {:.4f}   B {:.4f}   B / A {:.5f}{}\n", std::exp(r.nll_a.value),
                        std::exp(r.nll_b.value), std::exp(r.nll_difference.value),
                        r.nll_difference.interval
                            ? fmt::format("   [{:.5f}, {:.5f}]", std::exp(r.nll_difference.interval->low),
                                          std::exp(r.nll_difference.interval->high))
                            : "");
    text += fmt::format("KL(A||B)    mean {:.6f}{}\n", r.kl.value, interval_text(r.kl, "  [{:.6f}, {:.6f}]"));
    text += fmt::format(
        "            median {:.6f}   90 % {:.6f}   99 % {:.6f}   99.9 % {:.6f}   largest {:.6f}\n",
        r.kl_median, r.kl_p90, r.kl_p99, r.kl_p999, r.kl_max);
    Mean percent = r.same_top;
    percent.value *= 100;
    if (percent.interval) percent.interval = {100 * percent.interval->low, 100 * percent.interval->high};
    text += fmt::format("same best   {:.2f} %{}\n\n", percent.value,
                        interval_text(percent, "  [{:.2f}, {:.2f}]"));
    text += fmt::format("{:>15} {:>8} {:>9} {:>9} {:>10} {:>10}\n", "tokens before", "count", "nll A",
                        "nll B", "KL", "same best");
    for (const auto& b : r.by_position)
        text += fmt::format(
            "{:>15} {:>8} {:>9.4f} {:>9.4f} {:>10.6f} {:>8.1f} %\n",
            b.first == b.last ? fmt::format("{}", b.first) : fmt::format("{} to {}", b.first, b.last),
            b.tokens, b.nll_a, b.nll_b, b.kl, 100 * b.same_top);
    return text;
}

nlohmann::ordered_json compare_json(const Compared& c) {
    const Comparison& r = c.result;
    nlohmann::ordered_json json{{"a", c.a},
                                {"b", c.b},
                                {"text", c.text},
                                {"tokens", r.tokens},
                                {"window", c.window},
                                {"nll_a", mean_json(r.nll_a)},
                                {"nll_b", mean_json(r.nll_b)},
                                {"nll_difference", mean_json(r.nll_difference)},
                                {"perplexity_a", std::exp(r.nll_a.value)},
                                {"perplexity_b", std::exp(r.nll_b.value)}};
    json["kl"] = mean_json(r.kl);
    json["kl"].update({{"median", r.kl_median},
                       {"p90", r.kl_p90},
                       {"p99", r.kl_p99},
                       {"p999", r.kl_p999},
                       {"max", r.kl_max}});
    json["same_top"] = mean_json(r.same_top);
    json["by_position"] = nlohmann::json::array();
    for (const auto& b : r.by_position)
        json["by_position"].push_back({{"first", b.first},
                                       {"last", b.last},
                                       {"tokens", b.tokens},
                                       {"nll_a", b.nll_a},
                                       {"nll_b", b.nll_b},
                                       {"kl", b.kl},
                                       {"same_top", b.same_top}});
    return json;
}

// Names of files for the legend: the last part of their paths if that tells them apart.
static std::pair<std::string, std::string> short_names(const std::string& a, const std::string& b) {
    const auto last = [](const std::string& path) {
        const auto normal = std::filesystem::path(path).lexically_normal();
        const auto name = normal.has_filename() ? normal.filename() : normal.parent_path().filename();
        return name.empty() ? path : name.string();
    };
    if (last(a) != last(b)) return {last(a), last(b)};
    return a != b ? std::pair(a, b) : std::pair("A, " + last(a), "B, " + last(b));
}

std::string compare_svg(const Compared& c) {
    const Comparison& r = c.result;
    const auto [a, b_name] = short_names(c.a, c.b);
    const std::string divergence = fmt::format("KL({} || {})", a, b_name);
    SvgSeries nll_a{"nll of " + a, svg_colour(0), {}}, nll_b{"nll of " + b_name, svg_colour(9), {}};
    SvgSeries kl{divergence, svg_colour(2), {}}, shares{divergence, svg_colour(2), {}, 1.3, false};
    SvgAxis positions{"tokens before", 1, 2, true, {}};
    std::vector<double> kls, nlls;
    for (const auto& b : r.by_position) {
        constexpr std::int64_t kFew = 8;  // tokens whose mean says little: the first positions of few windows
        if (b.tokens < kFew && r.tokens > 8 * kFew) continue;
        const double x = std::max(1.0, 0.5 * static_cast<double>(b.first + b.last));
        for (auto [series, value] : {std::pair(&nll_a, b.nll_a), {&nll_b, b.nll_b}, {&kl, b.kl}})
            series->points.emplace_back(x, value);
        kls.push_back(b.kl);
        nlls.insert(nlls.end(), {b.nll_a, b.nll_b});
        if (kls.size() == 1) positions.least = static_cast<double>(std::max<std::int64_t>(1, b.first));
        positions.most = static_cast<double>(b.last + 1);
        if (b.first > 0 && std::fmod(std::log2(double(b.first)), 2) == 0)
            positions.ticks.emplace_back(b.first, fmt::format("{}", b.first));
    }
    if (positions.ticks.empty())
        positions.ticks.emplace_back(positions.least, fmt::format("{:g}", positions.least));
    constexpr int kSteps = 200;
    for (int i = 1; i <= kSteps; ++i)
        shares.points.emplace_back(100.0 * i / kSteps, quantile(r.kl_sorted, double(i) / kSteps));
    std::vector<double> seen;
    for (const auto& [x, y] : shares.points)
        if (x >= 5) seen.push_back(y);
    SvgPanel by_position{
        "nll by position", positions, linear_axis("nats", nlls, "{:.4g}"), {nll_a, nll_b}, {}};
    SvgPanel kl_by_position{"mean KL by position", positions, decimal_axis("nats", kls), {kl}, {}};
    SvgPanel share{"KL of tokens, smallest first",
                   linear_axis("share of the tokens", {0, 100}, "{:.0f} %"),
                   decimal_axis("nats", seen),
                   {shares},
                   {}};
    return svg_figure({by_position, kl_by_position, share});
}

}  // namespace cachalot::cli
