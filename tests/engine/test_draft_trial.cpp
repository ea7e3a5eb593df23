// The faster way is found and kept, and what it costs to look at the other one is small.
#include <gtest/gtest.h>

#include "engine/draft_trial.h"

namespace cachalot {
namespace {

// Seconds for 10,000 passes' worth of tokens over those without any drafts, on a machine where a pass takes
// one second and one with drafts `seconds`, in which it writes `tokens`.
double relative_speed(DraftTrial& trial, int tokens, double seconds, int passes = 4000) {
    double taken = 0, written = 0;
    for (int i = 0; i < passes; ++i) {
        const bool drafts = trial.next(1);
        trial.passed(drafts, drafts ? tokens : 1, 1, drafts ? seconds : 1);
        taken += drafts ? seconds : 1;
        written += drafts ? tokens : 1;
    }
    return written / taken;
}

TEST(DraftTrial, DraftsWhereThatIsFaster) {
    DraftTrial trial;
    EXPECT_GT(relative_speed(trial, 4, 2), 1.95);
    EXPECT_NEAR(trial.gain(), 2, 1e-6);
}

TEST(DraftTrial, LosesHardlyAnythingWhereItIsNot) {
    for (const double seconds : {1.1, 2.0, 3.0}) {
        DraftTrial trial;
        EXPECT_GT(relative_speed(trial, 1, seconds), 0.98) << seconds;
        EXPECT_LT(trial.gain(), 1);
    }
}

TEST(DraftTrial, NoticesWhatChanges) {
    DraftTrial trial;
    EXPECT_GT(relative_speed(trial, 1, 2, 1000), 0.97);
    EXPECT_GT(relative_speed(trial, 4, 1.5, 4000), 1.8);
    EXPECT_GT(relative_speed(trial, 1, 2, 4000), 0.97);
}

// What holds for one sequence is not believed of many.
TEST(DraftTrial, BeginsAnewWithOtherNumbersOfSequences) {
    DraftTrial trial;
    relative_speed(trial, 4, 1, 100);
    ASSERT_GT(trial.gain(), 2);
    EXPECT_FALSE(trial.next(8));
    EXPECT_EQ(trial.gain(), 1);
}

TEST(DraftTrial, FirstPassesOfAProcessDoNotCount) {
    DraftTrial trial;
    for (int i = 0; i < 2; ++i) trial.passed(false, 1, 1, 1000);
    EXPECT_GT(relative_speed(trial, 1, 1.5, 4000), 0.98);
}

}  // namespace
}  // namespace cachalot
