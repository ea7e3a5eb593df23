// What a drafter's confidence is worth: the share of tokens that were right among those of about the same
// confidence whose predecessors were all right. Learnt as drafts are verified; until enough is known, the
// drafter is believed.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

class DraftCalibration {
  public:
    // The probability that a token of this confidence (a logit) is right if those before it are.
    double probability(float confidence) const;
    // [tokens] that this token and all before it are right.
    std::vector<double> survival(std::span<const float> confidences) const;

    // Of the verified tokens of a draft the first `accepted` were right.
    void judged(std::span<const float> confidences, int accepted);

    // Of all tokens whose predecessors were right: how many there were, how many of them were right, and how
    // many the drafter has promised.
    struct Sums {
        double seen = 0, right = 0, promised = 0;
    };
    const Sums& sums() const { return sums_; }

  private:
    static constexpr int kBins = 24;  // of half a unit each, from -4 on; the outer ones are open
    static std::size_t bin(float confidence);

    struct Bin {
        double seen = 0, right = 0;
    };
    std::array<Bin, kBins> bins_;
    Sums sums_;
};

}  // namespace cachalot
