#include "experts/policy/route_memory.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cachalot {
namespace {

// Hit rates hardly depend on these: half or twice of any changes them by a few tenths of a point.
constexpr std::size_t kPasses = 128;
constexpr std::size_t kNeighbours = 16;
constexpr double kFade = 0.9;  // of the similarity, at every layer
// A pass that shares all choices weighs e^10 times as much as one that shares none.
constexpr double kSharpness = 10.0;

}  // namespace

RouteMemory::RouteMemory(int layers) : layers_(static_cast<std::size_t>(layers)), present_(layers_) {}

void RouteMemory::begin_pass() {
    stale_ = true;
    if (std::all_of(present_.begin(), present_.end(), [](const auto& chosen) { return chosen.empty(); }))
        return;
    // Each pass inherits the similarity of the one before it. When the oldest is forgotten, all move down by
    // one place and the values stay where they are.
    if (passes_.size() == kPasses)
        passes_.erase(passes_.begin());
    else
        similarity_.insert(similarity_.begin(), 0.0);
    passes_.push_back(std::move(present_));
    present_.assign(layers_, {});
}

void RouteMemory::begin_layer(int layer) {
    layer_ = static_cast<std::size_t>(layer);
    for (auto& similarity : similarity_) similarity *= kFade;
    most_ *= kFade;
    stale_ = true;
}

void RouteMemory::add(int expert) {
    present_[layer_].push_back(static_cast<std::uint16_t>(expert));
    for (std::size_t i = 0; i < passes_.size(); ++i) {
        const auto& chosen = passes_[i][layer_];
        similarity_[i] += std::count(chosen.begin(), chosen.end(), expert) != 0;
    }
    most_ += 1;
    stale_ = true;
}

void RouteMemory::find_neighbours() {
    stale_ = false;
    alike_.clear();
    followed_.clear();
    std::vector<std::size_t> order(passes_.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    const auto count = std::min(kNeighbours, order.size());
    if (count == 0 || most_ <= 0) return;
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
        return similarity_[a] != similarity_[b] ? similarity_[a] > similarity_[b] : a > b;
    });
    const double highest = similarity_[order.front()];
    for (auto i = order.begin(); i != end; ++i) {
        const auto weight = static_cast<float>(std::exp(kSharpness * (similarity_[*i] - highest) / most_));
        alike_.push_back({*i, weight});
        if (*i + 1 < passes_.size()) followed_.push_back({*i + 1, weight});
    }
    for (auto* neighbours : {&alike_, &followed_}) {
        float sum = 0;
        for (const auto& n : *neighbours) sum += n.weight;
        for (auto& n : *neighbours) n.weight /= sum;
    }
}

void RouteMemory::shares_at_next_visit(int layer, std::span<float> shares) {
    if (stale_) find_neighbours();
    std::fill(shares.begin(), shares.end(), 0.0f);
    const auto l = static_cast<std::size_t>(layer);
    const bool in_this_pass = l > layer_ || present_[l].empty();
    for (const auto& n : in_this_pass ? alike_ : followed_)
        for (const auto expert : passes_[n.pass][l]) shares[expert] += n.weight;
}

}  // namespace cachalot
