#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"

namespace cachalot {

void BlockMean::add(double value) {
    if (filled_ == kBlock) {
        blocks_.emplace_back();
        filled_ = 0;
    }
    blocks_.back().sum += value;
    ++blocks_.back().count;
    ++filled_;
    sum_ += value;
    ++count_;
}

Mean BlockMean::mean() const {
    if (count_ == 0) return {};
    Mean result{sum_ / static_cast<double>(count_), {}};
    if (blocks_.size() < kLeastBlocks) return result;
    constexpr int kDraws = 1000;
    std::mt19937_64 random(
        1);  // what it gives is laid down by the standard, what a distribution gives is not
    std::vector<double> means;
    for (int draw = 0; draw < kDraws; ++draw) {
        Block all;
        for (std::size_t i = 0; i < blocks_.size(); ++i) {
            const Block& block = blocks_[random() % blocks_.size()];
            all.sum += block.sum;
            all.count += block.count;
        }
        means.push_back(all.sum / static_cast<double>(all.count));
    }
    std::sort(means.begin(), means.end());
    result.interval = {quantile(means, 0.025), quantile(means, 0.975)};
    return result;
}

double quantile(std::span<const double> sorted, double share) {
    CACHALOT_CHECK(!sorted.empty());
    const auto rank = std::ceil(share * static_cast<double>(sorted.size()));
    const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
    return sorted[std::min(index, sorted.size() - 1)];
}

}  // namespace cachalot
