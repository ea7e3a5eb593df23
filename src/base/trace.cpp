#include "base/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <map>
#include <utility>

#include "base/error.h"

namespace cachalot {

void Trace::begin(const char* name, int layer) {
    // A span is recorded with all that it lies in, and with no hole between its own.
    if (open_dropped_ > 0 || spans_.size() >= most_spans_) {
        ++open_dropped_;
        ++dropped_;
        return;
    }
    open_.push_back(spans_.size());
    spans_.push_back({name, layer, static_cast<int>(open_.size()) - 1});
    spans_.back().begin = now();
}

void Trace::count(std::int64_t bytes, std::int64_t operations, std::int64_t waits) {
    if (open_dropped_ > 0) return;
    CACHALOT_CHECK(!open_.empty());
    spans_[open_.back()].bytes += bytes;
    spans_[open_.back()].operations += operations;
    spans_[open_.back()].waits += waits;
}

void Trace::end() {
    if (open_dropped_ > 0) {
        --open_dropped_;
        return;
    }
    CACHALOT_CHECK(!open_.empty());
    spans_[open_.back()].end = now();
    open_.pop_back();
}

std::string Trace::chrome_json() const {
    std::string json = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
    const char* separator = "\n";
    for (const TraceSpan& span : spans_) {
        json += fmt::format(R"({}{{"name":"{}","ph":"X","pid":1,"tid":1,"ts":{:.3f},"dur":{:.3f},"args":{{)",
                            std::exchange(separator, ",\n"), span.name, span.begin,
                            std::max(0.0, span.end - span.begin));
        if (span.layer >= 0) json += fmt::format("\"layer\":{},", span.layer);
        json += fmt::format("\"bytes\":{},\"operations\":{},\"waits\":{}}}}}", span.bytes, span.operations,
                            span.waits);
    }
    return json + fmt::format("\n],\"otherData\":{{\"dropped\":{}}}}}\n", dropped_);
}

std::string Trace::summary() const {
    struct Sum {
        std::int64_t calls = 0, bytes = 0, operations = 0, waits = 0;
        double time = 0;
    };
    std::map<std::string, Sum> sums;
    std::vector<const char*> path;  // the names that a span lies in
    double whole = 0, covered = 0;
    std::int64_t passes = 0, layers = 0, waits = 0, waits_in_layers = 0;
    int last_layer = -1;
    int layer_depth = INT_MAX;  // of the layer that the span lies in or is
    for (std::size_t i = 0; i < spans_.size(); ++i) {
        const TraceSpan& span = spans_[i];
        const double time = std::max(0.0, span.end - span.begin);
        if (span.depth == 0) whole += time, ++passes;
        if (span.depth <= layer_depth) layer_depth = span.layer >= 0 ? span.depth : INT_MAX;
        if (span.layer < 0 && span.depth < layer_depth) last_layer = -1;  // another pass
        if (span.layer >= 0 && span.depth == layer_depth && span.layer != last_layer) {
            ++layers;  // has several spans, one after the other
            last_layer = span.layer;
        }
        waits += span.waits;
        if (span.depth >= layer_depth) waits_in_layers += span.waits;
        path.resize(static_cast<std::size_t>(span.depth));
        path.push_back(span.name);
        if (i + 1 < spans_.size() && spans_[i + 1].depth > span.depth) continue;  // others lie in it
        Sum& sum = sums[span.depth ? fmt::format("{}/{}", path[path.size() - 2], span.name) : span.name];
        ++sum.calls;
        sum.time += time;
        sum.bytes += span.bytes;
        sum.operations += span.operations;
        sum.waits += span.waits;
        covered += time;
    }
    std::vector<std::pair<std::string, Sum>> sorted(sums.begin(), sums.end());
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return a.second.time > b.second.time; });
    std::size_t width = 32;
    for (const auto& [name, sum] : sorted) width = std::max(width, name.size());
    std::string text = fmt::format("{:<{}} {:>8} {:>10} {:>7} {:>8} {:>8} {:>8}\n", "box", width, "calls",
                                   "ms", "share", "GB/s", "Gop/s", "waits");
    for (const auto& [name, sum] : sorted)
        text +=
            fmt::format("{:<{}} {:>8} {:>10.2f} {:>5.1f} % {:>8.2f} {:>8.1f} {:>8}\n", name, width, sum.calls,
                        sum.time / 1e3, whole > 0 ? 100 * sum.time / whole : 0,
                        sum.time > 0 ? static_cast<double>(sum.bytes) / sum.time / 1e3 : 0,
                        sum.time > 0 ? static_cast<double>(sum.operations) / sum.time / 1e3 : 0, sum.waits);
    text += fmt::format("{:<{}} {:>8} {:>10.2f} {:>5.1f} %\n", "between", width, "", (whole - covered) / 1e3,
                        whole > 0 ? 100 * (whole - covered) / whole : 0);
    auto each = [](std::int64_t a, std::int64_t b) {
        return static_cast<double>(a) / static_cast<double>(std::max<std::int64_t>(b, 1));
    };
    text += fmt::format("waits for all threads: {:.1f} in a pass, {:.1f} in a layer\n", each(waits, passes),
                        each(waits_in_layers, layers));
    if (dropped_ > 0)
        text += fmt::format("of the first {} spans; {} later ones were dropped\n", spans_.size(), dropped_);
    return text;
}

}  // namespace cachalot
