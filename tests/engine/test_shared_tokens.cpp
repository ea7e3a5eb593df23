// What two texts have in common is what a comparison says, and nothing is compared twice.
#include "engine/shared_tokens.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace cachalot {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(SharedTokens, AreThoseOfAComparisonHoweverBothGrow) {
    std::mt19937 random(2);
    for (int round = 0; round < 200; ++round) {
        SharedTokens shared;
        Tokens mine;
        std::vector<Tokens> others(3);
        for (int i = 0; i < 30; ++i) {
            auto grow = [&](Tokens& tokens) {
                for (auto more = random() % 4; more > 0; --more)
                    tokens.push_back(random() % 40 ? static_cast<std::int32_t>(tokens.size()) : -1);
            };
            grow(mine);
            grow(others[random() % 3]);
            const auto which = random() % 3;
            const auto& other = others[which];
            std::size_t same = 0;
            while (same < mine.size() && same < other.size() && mine[same] == other[same]) ++same;
            ASSERT_EQ(shared.with(static_cast<std::int64_t>(which), mine, other),
                      static_cast<std::int64_t>(same));
        }
    }
}

TEST(SharedTokens, NothingIsComparedTwice) {
    SharedTokens shared;
    const Tokens mine(100'000, 1);
    Tokens growing(50'000, 1), other(100'000, 1);
    other[90'000] = 2;
    for (int pass = 0; pass < 1000; ++pass) {
        growing.push_back(1);
        EXPECT_EQ(shared.with(1, mine, growing), static_cast<std::int64_t>(growing.size()));
        EXPECT_EQ(shared.with(2, mine, other), 90'000);
    }
    EXPECT_LE(shared.compared(), 51'000 + 90'001);
    // Others come and go: neither memory nor answers suffer.
    for (std::int64_t number = 3; number < 5000; ++number)
        ASSERT_EQ(shared.with(number, std::span(mine).first(10), std::span(other).first(20)), 10);
    EXPECT_EQ(shared.with(2, mine, other), 90'000);
}

}  // namespace
}  // namespace cachalot
