// What a drafter's confidence is worth.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "engine/draft_calibration.h"

namespace cachalot {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(DraftCalibration, BelievesTheDrafterAtFirst) {
    const DraftCalibration calibration;
    for (float confidence : {-3.0f, -0.2f, 0.0f, 1.0f, 5.0f})
        EXPECT_NEAR(calibration.probability(confidence), sigmoid(confidence), 1e-6);
    const float confidences[] = {2.0f, 0.0f, -1.0f};
    const auto survival = calibration.survival(confidences);
    ASSERT_EQ(survival.size(), 3u);
    EXPECT_NEAR(survival[0], sigmoid(2), 1e-6);
    EXPECT_NEAR(survival[2], sigmoid(2) * sigmoid(0) * sigmoid(-1), 1e-6);
}

// Drafters that are too sure, or not sure enough.
TEST(DraftCalibration, LearnsWhatConfidencesAreWorth) {
    for (const double shift : {-1.5, 1.5}) {
        DraftCalibration calibration;
        std::mt19937 random(3);
        std::uniform_real_distribution<double> uniform;
        for (int i = 0; i < 6000; ++i) {
            const float confidences[] = {static_cast<float>(uniform(random) * 6 - 3)};
            calibration.judged(confidences, uniform(random) < sigmoid(confidences[0] + shift) ? 1 : 0);
        }
        for (float confidence : {-2.0f, -1.0f, 0.0f, 1.0f, 2.0f})
            EXPECT_NEAR(calibration.probability(confidence + 0.25f), sigmoid(confidence + 0.25 + shift), 0.12)
                << confidence << " " << shift;
    }
}

// Of a draft that was wrong at its second token nothing is known of the third.
TEST(DraftCalibration, CountsUpToTheFirstMistake) {
    DraftCalibration calibration;
    const float confidences[] = {1.0f, 1.0f, 1.0f};
    calibration.judged(confidences, 1);
    EXPECT_EQ(calibration.sums().seen, 2);
    EXPECT_EQ(calibration.sums().right, 1);
    EXPECT_NEAR(calibration.sums().promised, 2 * sigmoid(1), 1e-6);
    calibration.judged(confidences, 3);
    EXPECT_EQ(calibration.sums().seen, 5);
    EXPECT_EQ(calibration.sums().right, 4);
}

TEST(DraftCalibration, AnyNumberIsAConfidence) {
    DraftCalibration calibration;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float confidences[] = {kInfinity, -kInfinity, std::nanf(""), 1e30f, -1e30f};
    calibration.judged(confidences, 5);
    for (float confidence : confidences) {
        EXPECT_GE(calibration.probability(confidence), 0);
        EXPECT_LE(calibration.probability(confidence), 1);
    }
}

}  // namespace
}  // namespace cachalot
