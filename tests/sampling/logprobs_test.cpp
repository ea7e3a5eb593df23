#include "sampling/logprobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Logprobs, AreTheLogarithmsOfTheSoftmax) {
    const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f), -kInfinity};  // 1/8, 2/8, 5/8, 0
    const auto result = logprobs_of(logits, 0, 2);
    EXPECT_EQ(result.chosen.token, 0);
    EXPECT_NEAR(result.chosen.logprob, std::log(1.0 / 8), 1e-6);
    ASSERT_EQ(result.top.size(), 2u);
    EXPECT_EQ(result.top[0].token, 2);
    EXPECT_NEAR(result.top[0].logprob, std::log(5.0 / 8), 1e-6);
    EXPECT_EQ(result.top[1].token, 1);
    EXPECT_NEAR(result.top[1].logprob, std::log(2.0 / 8), 1e-6);
}

TEST(Logprobs, SurviveLargeLogitsAndLeaveOutImpossibleTokens) {
    const std::vector<float> logits = {1e30f, -kInfinity, 1e30f, -1e30f};
    const auto result = logprobs_of(logits, 1, 10);
    EXPECT_EQ(result.chosen.logprob, -std::numeric_limits<double>::infinity());
    ASSERT_EQ(result.top.size(), 3u);
    EXPECT_EQ(result.top[0].token, 0);  // equal logits: the lower id first
    EXPECT_EQ(result.top[1].token, 2);
    EXPECT_EQ(result.top[2].token, 3);
    EXPECT_NEAR(log_sum_exp(std::vector<float>{1000.0f, 1000.0f}), 1000.0 + std::log(2.0), 1e-12);
}

TEST(Logprobs, AreExactForAVocabularyOfEqualTokens) {
    const std::vector<float> logits(129280, 3.5f);
    EXPECT_NEAR(logprobs_of(logits, 77, 0).chosen.logprob, -std::log(129280.0), 1e-12);
}

TEST(Logprobs, RefuseWhatHasNoMeaning) {
    const std::vector<float> good = {1.0f, 2.0f};
    EXPECT_THAT([&] { logprobs_of(good, 2, 0); }, ThrowsMessage<Error>(HasSubstr("token 2 is outside")));
    EXPECT_THAT([&] { logprobs_of(good, -1, 0); }, ThrowsMessage<Error>(HasSubstr("token -1 is outside")));
    EXPECT_THAT([&] { logprobs_of(good, 0, -1); }, ThrowsMessage<Error>(HasSubstr("top_logprobs")));
    EXPECT_THAT(
        [&] {
            log_sum_exp(std::vector<float>{1.0f, std::nanf("")});
        },
        ThrowsMessage<Error>(HasSubstr("not a number")));
    EXPECT_THAT(
        [&] {
            log_sum_exp(std::vector<float>{1.0f, kInfinity});
        },
        ThrowsMessage<Error>(HasSubstr("not a number")));
    EXPECT_THAT(
        [&] {
            log_sum_exp(std::vector<float>{-kInfinity, -kInfinity});
        },
        ThrowsMessage<Error>(HasSubstr("every logit")));
}

}  // namespace
}  // namespace cachalot
