#include "cli/svg_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "file/output_file.h"

namespace cachalot::cli {
namespace {

constexpr double kWidth = 420, kHeight = 300;  // of a panel's axes
constexpr double kLeft = 65, kTop = 40, kGap = 85, kLegend = 130;

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

// Where on an axis a value lies, 0 to 1.
double part_of(const SvgAxis& axis, double value) {
    auto scale = [&](double v) { return axis.logarithmic ? std::log(std::max(v, axis.least)) : v; };
    const double range = scale(axis.most) - scale(axis.least);
    return std::clamp(range > 0 ? (scale(value) - scale(axis.least)) / range : 0, 0.0, 1.0);
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
    for (const auto& s : p.series) {
        std::string points, dots;
        for (const auto& [px, py] : s.points) {
            points += fmt::format("{:.1f},{:.1f} ", x(px), y(py));
            if (s.dots)
                dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", x(px),
                                    y(py), s.colour);
        }
        svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
                           points, s.colour, s.width);
        svg += dots;
    }
    return svg;
}

}  // namespace

SvgAxis linear_axis(std::string label, double most, const std::string& format) {
    SvgAxis axis{std::move(label), 0, most, false, {}};
    for (int i = 0; i <= 5; ++i)
        axis.ticks.emplace_back(most * i / 5, fmt::format(fmt::runtime(format), most * i / 5));
    return axis;
}

SvgAxis decimal_axis(std::string label, const std::vector<double>& values) {
    double least = 0, most = 0;
    for (double v : values) {
        if (!(v > 0) || std::isinf(v)) continue;
        least = least > 0 ? std::min(least, v) : v;
        most = std::max(most, v);
    }
    const int first = least > 0 ? static_cast<int>(std::floor(std::log10(least))) : 0;
    const int last = std::max(first + 1, least > 0 ? static_cast<int>(std::ceil(std::log10(most))) : 1);
    SvgAxis axis{std::move(label), std::pow(10, first), std::pow(10, last), true, {}};
    for (int i = first; i <= last; ++i) axis.ticks.emplace_back(std::pow(10, i), fmt::format("1e{}", i));
    return axis;
}

const std::string& svg_colour(std::size_t number) {
    static const std::array<std::string, 10> colours = {"#4477aa", "#66ccee", "#228833", "#bbbb44",
                                                        "#aa7744", "#ddaa77", "#aa3377", "#8866cc",
                                                        "#999999", "#ee3322"};
    return colours[number % colours.size()];
}

std::string svg_figure(const std::vector<SvgPanel>& panels) {
    const double width = kLeft + static_cast<double>(panels.size()) * (kWidth + kGap) + kLegend;
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

void write_svg(const std::string& path, const std::string& svg) {
    OutputFile file(path);
    file.write(std::as_bytes(std::span(svg)));
    file.commit();
}

}  // namespace cachalot::cli
