#include "cli/svg_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "cli/outputs.h"
#include "text/utf8.h"

namespace cachalot::cli {
namespace {

constexpr double kWidth = 420, kHeight = 300;  // of a panel's axes
constexpr double kLeft = 65, kTop = 40, kGap = 85, kLegend = 130, kLetter = 7;

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : repair_utf8(text)) switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            default:  // XML has no control characters
                out += static_cast<unsigned char>(c) >= ' ' && c != 0x7f ? c : '?';
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

// Where on an axis a value lies, 0 to 1.
double part_of(const SvgAxis& axis, double value) {
    auto scale = [&](double v) { return axis.logarithmic ? std::log(std::max(v, axis.least)) : v; };
    const double range = scale(axis.most) - scale(axis.least);
    return std::clamp(range > 0 ? (scale(value) - scale(axis.least)) / range : 0, 0.0, 1.0);
}

// A series in the picture.
struct Point {
    double x, y;
    bool is_at(const Point& other) const { return std::hypot(x - other.x, y - other.y) < 1.5; }
};
struct Curve {
    const SvgSeries* series;
    std::vector<Point> points;

    bool has(const Point& point) const {
        return std::any_of(points.begin(), points.end(), [&](const Point& p) { return p.is_at(point); });
    }
    // Whether the line from a to b is part of it.
    bool has(const Point& a, const Point& b) const {
        for (std::size_t i = 1; i < points.size(); ++i)
            if (points[i - 1].is_at(a) && points[i].is_at(b)) return true;
        return false;
    }
};

// Which of those that share something a curve is, counted from 0, and how many they are.
struct Share {
    std::size_t number = 0, of = 0;
    bool operator==(const Share&) const = default;
};
template <class Test>
Share share_of(const Curve& curve, const std::vector<Curve>& all, const Test& shares) {
    Share share;
    for (const Curve& other : all) {
        if (&other == &curve) share.number = share.of;
        if (&other == &curve || shares(other)) ++share.of;
    }
    return share;
}

std::string curve_svg(const Curve& curve, const std::vector<Curve>& all) {
    constexpr std::size_t kDash = 7;
    std::string svg;
    const auto& p = curve.points;
    const auto share = [&](std::size_t i) {  // of the line from point i to the next
        return share_of(curve, all, [&](const Curve& other) { return other.has(p[i], p[i + 1]); });
    };
    for (std::size_t first = 0; first + 1 < p.size();) {
        const Share s = share(first);
        std::string points = fmt::format("{:.1f},{:.1f} ", p[first].x, p[first].y);
        do {
            ++first;
            points += fmt::format("{:.1f},{:.1f} ", p[first].x, p[first].y);
        } while (first + 1 < p.size() && share(first) == s);
        std::string dashes;
        if (s.of > 1)
            dashes = fmt::format(" stroke-dasharray=\"{} {}\" stroke-dashoffset=\"{}\"", kDash,
                                 kDash * (s.of - 1), kDash * ((s.of - s.number) % s.of));
        svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n",
                           points, curve.series->colour, curve.series->width, dashes);
    }
    return svg;
}

// The first of those at one place is the largest, and the others are drawn upon it.
std::string dots_svg(const Curve& curve, const std::vector<Curve>& all) {
    std::string svg;
    for (const Point& p : curve.points) {
        const Share s =
            share_of(curve, all, [&](const Curve& other) { return other.series->dots && other.has(p); });
        const double radius = 2.5 + 1.2 * static_cast<double>(s.of - 1 - s.number);
        svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:g}\" fill=\"{}\"/>\n", p.x, p.y, radius,
                           curve.series->colour);
    }
    return svg;
}

std::string panel_svg(const SvgPanel& p, double left) {
    auto x = [&](double value) { return left + part_of(p.x, value) * kWidth; };
    auto y = [&](double value) { return kTop + (1 - part_of(p.y, value)) * kHeight; };
    std::string svg = label(left, kTop - 14, "start", p.title);
    for (const auto& [value, text] : p.y.ticks) {
        svg += line(left, y(value), left + kWidth, y(value), "#dddddd");
        svg += label(left - 6, y(value) + 4, "end", text);
    }
    for (const auto& [value, text] : p.x.ticks) svg += label(x(value), kTop + kHeight + 18, "middle", text);
    svg += label(left + kWidth / 2, kTop + kHeight + 36, "middle", p.x.label);
    if (!p.y.label.empty()) svg += label(left + kWidth, kTop - 14, "end", p.y.label);
    for (const auto& [value, text] : p.marks) {
        svg += line(x(value), kTop, x(value), kTop + kHeight, "#bbbbbb");
        svg += label(x(value) + 4, kTop + kHeight - 6, "start", text);
    }
    std::vector<Curve> curves;
    for (const auto& s : p.series) {
        curves.push_back({&s, {}});
        for (const auto& [px, py] : s.points) curves.back().points.push_back({x(px), y(py)});
    }
    for (const auto& curve : curves) svg += curve_svg(curve, curves);
    for (const auto& curve : curves)
        if (curve.series->dots) svg += dots_svg(curve, curves);
    return svg;
}

// The distance of the numbers on an axis: 1, 2 or 5 times a power of ten, so that about five fit into the
// range.
double round_step(double range) {
    const double power = std::pow(10, std::floor(std::log10(range / 5)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (range / (factor * power) <= 6) return factor * power;
    return 10 * power;
}

}  // namespace

SvgAxis linear_axis(std::string label, const std::vector<double>& values, const std::string& format) {
    double least = INFINITY, most = -INFINITY;
    for (const double v : values)
        if (std::isfinite(v)) least = std::min(least, v), most = std::max(most, v);
    if (least > most) least = 0, most = 1;  // no values
    if (most - least <= 1e-9 * std::max(std::abs(least), std::abs(most))) {
        const double around = most == 0 ? 1 : std::abs(most) / 10;
        if (least != 0) least -= around;
        most += around;
    }
    const double step = round_step(most - least), slack = 1e-9;
    const double first = std::floor(least / step + slack), last = std::ceil(most / step - slack);
    SvgAxis axis{std::move(label), first * step, last * step, false, {}};
    for (double i = first; i <= last; ++i)
        axis.ticks.emplace_back(i * step, fmt::format(fmt::runtime(format), i * step));
    return axis;
}

SvgAxis decimal_axis(std::string label, const std::vector<double>& values) {
    double least = 0, most = 0;
    for (double v : values) {
        if (!(v > 0) || std::isinf(v)) continue;
        least = least > 0 ? std::min(least, v) : v;
        most = std::max(most, v);
    }
    if (least == 0) return linear_axis(std::move(label), {0, 1}, "{:.3g}");
    const int first = static_cast<int>(std::floor(std::log10(least)));
    const int last = std::max(first + 1, static_cast<int>(std::ceil(std::log10(most))));
    const int step = (last - first + 11) / 12;
    SvgAxis axis{std::move(label), std::pow(10, first), std::pow(10, last), true, {}};
    for (int i = first; i <= last; i += step)
        axis.ticks.emplace_back(std::pow(10, i), fmt::format("1e{}", i));
    return axis;
}

const std::string& svg_colour(std::size_t number) {
    static const std::array<std::string, 10> colours = {"#4477aa", "#66ccee", "#228833", "#bbbb44",
                                                        "#aa7744", "#ddaa77", "#aa3377", "#8866cc",
                                                        "#999999", "#ee3322"};
    return colours[number % colours.size()];
}

std::string svg_figure(const std::vector<SvgPanel>& panels) {
    std::size_t longest = 0;  // name in the legend
    for (const auto& p : panels)
        for (const auto& s : p.series) longest = std::max(longest, s.name.size());
    const double legend_width = std::max(kLegend, 50 + kLetter * static_cast<double>(longest));
    const double width = kLeft + static_cast<double>(panels.size()) * (kWidth + kGap) + legend_width;
    const double height = kTop + kHeight + 60;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width, height);
    double left = kLeft;
    std::vector<std::pair<std::string, std::string>> legend;  // name, colour
    for (const auto& p : panels) {
        svg += panel_svg(p, left);
        left += kWidth + kGap;
        for (const auto& s : p.series)
            if (const std::pair entry(s.name, s.colour);
                std::find(legend.begin(), legend.end(), entry) == legend.end())
                legend.push_back(entry);
    }
    double y = kTop + 6;
    left -= kGap - 20;
    for (const auto& [name, colour] : legend) {
        svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"20\" height=\"3\" fill=\"{}\"/>\n", left,
                           y - 1.5, colour);
        svg += label(left + 26, y + 4, "start", name);
        y += 18;
    }
    return svg + "</svg>\n";
}

void write_svg(const std::string& path, const std::string& svg) { save_text_or_keep(path, svg); }

}  // namespace cachalot::cli
