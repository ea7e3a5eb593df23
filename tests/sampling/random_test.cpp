#include "sampling/random.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

// The first outputs for seed 1234567 as computed with the authors' published algorithm.
TEST(SplitMix64, GivesTheDocumentedSequence) {
    SplitMix64 random(1234567);
    EXPECT_EQ(random.next(), 6457827717110365317u);
    EXPECT_EQ(random.next(), 3203168211198807973u);
    EXPECT_EQ(random.next(), 9817491932198370423u);
    EXPECT_EQ(random.next(), 4593380528125082431u);
    EXPECT_EQ(random.next(), 16408922859458223821u);
}

TEST(SplitMix64, UniformStaysBelowOneAndIsCentred) {
    SplitMix64 random(7);
    double sum = 0.0;
    constexpr int n = 100000;
    for (int i = 0; i < n; ++i) {
        const double u = random.uniform();
        ASSERT_GE(u, 0.0);
        ASSERT_LT(u, 1.0);
        sum += u;
    }
    EXPECT_NEAR(sum / n, 0.5, 5.0 * 0.2887 / 316.2);  // five standard errors
}

}  // namespace
}  // namespace cachalot
