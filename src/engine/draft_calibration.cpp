#include "engine/draft_calibration.h"

#include <algorithm>
#include <cmath>

namespace cachalot {
namespace {

constexpr double kBelief = 8;   // tokens that what the drafter says counts as much as
constexpr double kKept = 0.99;  // of what a bin knows, with each token

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

std::size_t DraftCalibration::bin(float confidence) {
    const double place = (std::isfinite(confidence) ? double{confidence} : 0.0) * 2 + 8;
    return static_cast<std::size_t>(std::clamp(place, 0.0, double{kBins - 1}));
}

double DraftCalibration::probability(float confidence) const {
    const Bin& b = bins_[bin(confidence)];
    const double said = std::isfinite(confidence) ? sigmoid(confidence) : 0.5;
    return (b.right + kBelief * said) / (b.seen + kBelief);
}

std::vector<double> DraftCalibration::survival(std::span<const float> confidences) const {
    std::vector<double> all;
    double alive = 1;
    for (float confidence : confidences) all.push_back(alive *= probability(confidence));
    return all;
}

void DraftCalibration::judged(std::span<const float> confidences, int accepted) {
    for (std::size_t i = 0; i < confidences.size(); ++i) {
        const bool right = static_cast<int>(i) < accepted;
        Bin& b = bins_[bin(confidences[i])];
        b.seen = b.seen * kKept + 1;
        b.right = b.right * kKept + right;
        sums_.seen += 1;
        sums_.right += right;
        sums_.promised += std::isfinite(confidences[i]) ? sigmoid(confidences[i]) : 0;
        if (!right) break;  // nothing is known of what follows the first mistake
    }
}

}  // namespace cachalot
