// Line charts as SVG documents, for --plot: panels side by side with one legend.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cachalot::cli {

struct SvgAxis {
    std::string label;
    double least = 0, most = 1;
    bool logarithmic = false;  // least and most are powers of two or ten above 0
    std::vector<std::pair<double, std::string>> ticks;
};

// From one round number to another, which enclose the values, with the numbers in this format ("{:.3g} %").
SvgAxis linear_axis(std::string label, const std::vector<double>& values, const std::string& format);
// Powers of ten that enclose the values above 0; if there are none, linear.
SvgAxis decimal_axis(std::string label, const std::vector<double>& values);

struct SvgSeries {
    std::string name, colour;
    std::vector<std::pair<double, double>> points;
    double width = 1.3;
    bool dots = true;
};

struct SvgPanel {
    std::string title;
    SvgAxis x, y;
    std::vector<SvgSeries> series;
    std::vector<std::pair<double, std::string>> marks;  // vertical lines
};

// Colours that are told apart also by most who see colours differently (after Paul Tol).
const std::string& svg_colour(std::size_t number);

// Values outside of an axis are drawn at its end. Where lines lie upon each other, each has its share of the
// dashes, and their dots are rings. The legend has each name once.
std::string svg_figure(const std::vector<SvgPanel>& panels);

// Replaces the file at once.
void write_svg(const std::string& path, const std::string& svg);

}  // namespace cachalot::cli
