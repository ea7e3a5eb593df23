// Means with confidence intervals, for measurements whose neighbours resemble each other.
//
// The tokens of a text are no independent samples: a hard passage is hard for many tokens. So they are
// gathered into blocks of neighbours, and the interval is that of the block bootstrap: the mean is taken
// again and again over as many blocks drawn at random, and 95 % of these means lie in the interval. Where a
// difference is asked for, it is taken token by token before, so that what both have in common drops out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cachalot {

struct Interval {
    double low = 0, high = 0;
};

struct Mean {
    double value = 0;
    std::optional<Interval> interval;  // 95 %; none of fewer than BlockMean::kLeastBlocks blocks
};

class BlockMean {
  public:
    static constexpr std::size_t kBlock = 64;       // values that are neighbours
    static constexpr std::size_t kLeastBlocks = 8;  // of which an interval is believed

    // Values come in order; begin_window() where one is no neighbour of the last.
    void add(double value);
    void begin_window() { filled_ = kBlock; }

    std::int64_t count() const { return count_; }
    Mean mean() const;  // the same for the same values

  private:
    struct Block {
        double sum = 0;
        std::int64_t count = 0;
    };
    std::vector<Block> blocks_;
    std::size_t filled_ = kBlock;
    double sum_ = 0;
    std::int64_t count_ = 0;
};

// The smallest value that at least `share` (0 to 1) of the values do not exceed. `sorted` is ascending, not
// empty.
double quantile(std::span<const double> sorted, double share);

}  // namespace cachalot
