#include "sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "sampling/random.h"

namespace cachalot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::int32_t sample(Sampler& sampler, std::vector<float> logits) { return sampler.sample(logits); }

// What sampling must do, written for clarity: sort everything, cut, normalise.
std::map<std::int32_t, double> expected_distribution(const std::vector<float>& logits,
                                                     const SamplingOptions& options) {
    struct Entry {
        std::int32_t token;
        double probability;
    };
    std::vector<Entry> entries;
    const double best = *std::ranges::max_element(logits);
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (logits[i] != -kInfinity)
            entries.push_back(
                {static_cast<std::int32_t>(i), std::exp((logits[i] - best) / options.temperature)});
    std::ranges::stable_sort(entries, std::greater(),
                             [&](const Entry& e) { return logits[static_cast<std::size_t>(e.token)]; });
    auto normalise = [&] {
        double total = 0.0;
        for (auto& e : entries) total += e.probability;
        for (auto& e : entries) e.probability /= total;
    };
    if (options.top_k > 0 && entries.size() > static_cast<std::size_t>(options.top_k))
        entries.resize(static_cast<std::size_t>(options.top_k));
    normalise();
    if (options.top_p < 1.0f) {
        std::size_t kept = 0;
        for (double sum = 0.0; kept < entries.size() && (kept == 0 || sum < options.top_p); ++kept)
            sum += entries[kept].probability;
        entries.resize(kept);
    }
    const double floor = options.min_p * entries[0].probability;
    std::erase_if(entries, [&](const Entry& e) { return e.probability < floor; });
    normalise();
    std::map<std::int32_t, double> result;
    for (auto& e : entries) result[e.token] = e.probability;
    return result;
}

// Draws often and compares with the expected distribution: only tokens of it, and a chi-square below its mean
// plus six standard deviations (degrees of freedom + 6 * sqrt(2 * degrees)).
void check_distribution(const std::vector<float>& logits, const SamplingOptions& options, int draws) {
    const auto expected = expected_distribution(logits, options);
    Sampler sampler(options, static_cast<int>(logits.size()));
    std::map<std::int32_t, int> counts;
    for (int i = 0; i < draws; ++i) ++counts[sample(sampler, logits)];
    for (auto [token, count] : counts) ASSERT_TRUE(expected.contains(token)) << "drew " << token;
    double chi_square = 0.0, rest_expected = 0.0, rest_seen = 0.0;
    int cells = 0;
    for (auto [token, probability] : expected) {
        const double mean = probability * draws;
        if (mean < 10.0) {  // too rare for the approximation: counted together
            rest_expected += mean;
            rest_seen += counts[token];
            continue;
        }
        chi_square += (counts[token] - mean) * (counts[token] - mean) / mean;
        ++cells;
    }
    if (rest_expected >= 10.0) {
        chi_square += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
        ++cells;
    }
    const double degrees = std::max(1, cells - 1);
    EXPECT_LT(chi_square, degrees + 6.0 * std::sqrt(2.0 * degrees));
}

const std::vector<float> kLogits = {1.0f, 3.0f, -2.0f, 2.5f, 0.0f, -kInfinity, 3.0f, 1.5f, -1.0f, 0.5f};

TEST(Sampler, DrawsFromTheSoftmax) {
    check_distribution(kLogits, {.seed = 1}, 20000);
    check_distribution(kLogits, {.temperature = 0.5f, .seed = 2}, 20000);
    check_distribution(kLogits, {.temperature = 3.0f, .seed = 3}, 20000);
}

TEST(Sampler, DrawsFromWhatTheFiltersLeave) {
    check_distribution(kLogits, {.top_k = 3, .seed = 4}, 20000);
    check_distribution(kLogits, {.top_p = 0.8f, .seed = 5}, 20000);
    check_distribution(kLogits, {.min_p = 0.2f, .seed = 6}, 20000);
    check_distribution(kLogits, {.temperature = 1.3f, .top_p = 0.9f, .min_p = 0.05f, .top_k = 7, .seed = 7},
                       20000);
}

// The tokens that can be drawn at all, found by giving every token in turn an overwhelming share of the draws
// would disturb the filters; so draw from a few candidates often enough that each of them must appear.
TEST(Sampler, FiltersKeepTheTokensThatASortedReferenceKeeps) {
    EXPECT_TRUE(rc::check([] {
        const auto size = *rc::gen::inRange(1, 300);
        // Few distinct values, so that ties at the cuts are common.
        auto logits = *rc::gen::container<std::vector<float>>(
            static_cast<std::size_t>(size),
            rc::gen::map(rc::gen::inRange(-12, 13), [](int x) { return x < -10 ? -kInfinity : x * 0.37f; }));
        logits[0] = 1.0f;
        SamplingOptions options;
        options.temperature = *rc::gen::element(0.3f, 1.0f, 2.0f);
        options.top_k = *rc::gen::element(0, 1, 2, 10, 1000);
        options.top_p = *rc::gen::element(0.0f, 0.123f, 0.511f, 0.907f, 1.0f);
        options.min_p = *rc::gen::element(0.0f, 0.0313f, 0.407f);
        const auto expected = expected_distribution(logits, options);

        Sampler sampler(options, size);
        std::set<std::int32_t> drawn;
        for (int i = 0; i < 300; ++i) {
            const auto token = sample(sampler, logits);
            RC_ASSERT(expected.contains(token));
            drawn.insert(token);
        }
        // A token that is missing by chance has (1 - p)^300; at p = 0.1 that is 2e-14.
        for (auto [token, probability] : expected) RC_ASSERT(probability < 0.1 || drawn.contains(token));
    }));
}

TEST(Sampler, FindsTheNucleusOfAWholeVocabulary) {
    // 129,280 tokens whose weights fall slowly: the nucleus is tens of thousands of tokens wide.
    std::vector<float> logits(129280);
    for (std::size_t i = 0; i < logits.size(); ++i)
        logits[(i * 7919) % logits.size()] = -1e-4f * static_cast<float>(i);
    const auto expected = expected_distribution(logits, {.top_p = 0.9f});
    Sampler sampler({.top_p = 0.9f, .seed = 11}, static_cast<int>(logits.size()));
    std::int32_t inside = 0;
    for (int i = 0; i < 100; ++i) inside += expected.contains(sample(sampler, logits));
    EXPECT_EQ(inside, 100);
    EXPECT_GT(expected.size(), 20000u);
    EXPECT_LT(expected.size(), 30000u);
}

// The same by sorting everything: the token that `random` draws.
std::int32_t drawn_by_sorting(const std::vector<float>& logits, const SamplingOptions& options,
                              SplitMix64& random) {
    const double best = *std::ranges::max_element(logits), scale = 1.0 / double{options.temperature};
    auto weight = [&](std::int32_t token) {
        return std::exp((logits[static_cast<std::size_t>(token)] - best) * scale);
    };
    std::vector<std::int32_t> kept(logits.size());
    std::iota(kept.begin(), kept.end(), 0);
    std::ranges::stable_sort(kept, std::greater(),
                             [&](std::int32_t t) { return logits[static_cast<std::size_t>(t)]; });
    auto total = [&] {
        double sum = 0;
        for (auto token : kept) sum += weight(token);
        return sum;
    };
    if (options.top_k > 0) kept.resize(std::min(kept.size(), static_cast<std::size_t>(options.top_k)));
    if (options.top_p < 1.0f) {
        double missing = double{options.top_p} * total();
        std::size_t count = 0;
        do missing -= weight(kept[count++]);
        while (missing > 0 && count < kept.size());
        kept.resize(count);
    }
    std::erase_if(kept, [&](std::int32_t token) { return weight(token) < double{options.min_p}; });
    std::ranges::sort(kept);
    const double target = random.uniform() * total();
    double passed = 0;
    for (auto token : kept)
        if ((passed += weight(token)) > target) return token;
    return kept.back();
}

TEST(Sampler, DrawsTheTokenThatSortingWouldDraw) {
    EXPECT_TRUE(rc::check([] {
        // Sharp and flat distributions, some of which fit into one bucket.
        const auto size = *rc::gen::element(1, 33, 1000, 20000);
        const auto spread = *rc::gen::element(0.0f, 0.001f, 1.0f, 3.0f, 30.0f);
        SplitMix64 noise(*rc::gen::arbitrary<std::uint64_t>());
        std::vector<float> logits(static_cast<std::size_t>(size));
        for (float& x : logits) {
            double sum = -6;
            for (int i = 0; i < 12; ++i) sum += noise.uniform();  // about normal
            x = spread * static_cast<float>(sum);
        }
        SamplingOptions options;
        options.seed = *rc::gen::arbitrary<std::uint64_t>();
        options.temperature = *rc::gen::element(0.1f, 1.0f, 100.0f);
        options.top_k = *rc::gen::element(0, 0, 1, 40, 5000);
        options.top_p = *rc::gen::element(0.05f, 0.5f, 0.95f, 0.999f, 1.0f);
        options.min_p = *rc::gen::element(0.0f, 0.0f, 0.05f);
        Sampler sampler(options, size);
        SplitMix64 random(options.seed);
        for (int i = 0; i < 4; ++i)
            RC_ASSERT(sample(sampler, logits) == drawn_by_sorting(logits, options, random));
    }));
}

TEST(Sampler, TopPStopsAtTheTokenThatReachesIt) {
    auto drawn = [](std::vector<float> logits, float p) {
        Sampler sampler({.top_p = p, .seed = 9}, static_cast<int>(logits.size()));
        std::set<std::int32_t> tokens;
        for (int i = 0; i < 2000; ++i) tokens.insert(sample(sampler, logits));
        return tokens;
    };
    std::vector<float> logits;
    for (float probability : {0.1f, 0.4f, 0.2f, 0.3f}) logits.push_back(std::log(probability));
    EXPECT_THAT(drawn(logits, 0.399f), ElementsAre(1));
    EXPECT_THAT(drawn(logits, 0.401f), ElementsAre(1, 3));
    EXPECT_THAT(drawn(logits, 0.699f), ElementsAre(1, 3));
    EXPECT_THAT(drawn(logits, 0.701f), ElementsAre(1, 2, 3));
    EXPECT_THAT(drawn(logits, 0.901f), ElementsAre(0, 1, 2, 3));

    // Equal shares of 1/64 are exact in binary, so "reaches" can be told from "exceeds". Lower ids rank
    // first.
    const std::vector<float> equal(64, 0.0f);
    for (int kept : {1, 31, 32, 33, 40, 63}) {
        const auto tokens = drawn(equal, static_cast<float>(kept) / 64);
        EXPECT_EQ(tokens.size(), static_cast<std::size_t>(kept));
        EXPECT_EQ(*tokens.rbegin(), kept - 1);
    }
}

TEST(Sampler, TopPKeepsAtLeastTheBestToken) {
    Sampler sampler({.top_p = 0.0f, .seed = 3}, 10);
    for (int i = 0; i < 50; ++i)
        EXPECT_EQ(sample(sampler, kLogits), 1);  // ties with 6: the lower id ranks first
}

TEST(Sampler, TemperatureZeroTakesTheFirstMaximum) {
    Sampler sampler({.temperature = 0.0f}, 10);
    EXPECT_EQ(sample(sampler, kLogits), 1);
    Sampler forbidden({.temperature = 0.0f, .logit_bias = {{1, -kInfinity}}}, 10);
    EXPECT_EQ(sample(forbidden, kLogits), 6);
}

TEST(Sampler, ATinyTemperatureIsNearlyGreedy) {
    Sampler sampler({.temperature = 1e-38f, .seed = 5}, 3);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(sample(sampler, {1.0f, 1.0001f, -1e30f}), 1);
}

TEST(Sampler, ForbiddenTokensAreNeverDrawn) {
    Sampler sampler({.temperature = 100.0f, .seed = 5, .logit_bias = {{2, -kInfinity}}}, 4);
    std::set<std::int32_t> drawn;
    for (int i = 0; i < 1000; ++i) drawn.insert(sample(sampler, {0.0f, -kInfinity, 5.0f, 1.0f}));
    EXPECT_THAT(drawn, ElementsAre(0, 3));
}

// These literals pin the random stream and the order of the draw: if they change, old seeds give new texts.
TEST(Sampler, ASeedGivesTheSameTokensForEver) {
    auto draw = [](std::uint64_t seed, SamplingOptions options) {
        options.seed = seed;
        Sampler sampler(options, 10);
        std::vector<std::int32_t> tokens;
        for (int i = 0; i < 12; ++i) tokens.push_back(sample(sampler, kLogits));
        return tokens;
    };
    EXPECT_THAT(draw(0, {}), ElementsAre(6, 3, 0, 8, 1, 1, 1, 6, 1, 7, 3, 6));
    EXPECT_THAT(draw(42, {}), ElementsAre(6, 1, 1, 1, 0, 6, 1, 6, 1, 6, 1, 3));
    EXPECT_THAT(draw(7, {.temperature = 2.5f, .top_p = 0.9f, .top_k = 6}),
                ElementsAre(3, 0, 7, 3, 3, 1, 3, 1, 1, 3, 0, 7));
}

std::vector<float> changed_logits(Sampler& sampler, std::vector<float> logits) {
    sampler.sample(logits);
    return logits;
}

TEST(Sampler, BiasIsAdded) {
    Sampler sampler({.temperature = 0.0f, .logit_bias = {{0, 2.5f}, {2, -1.0f}}}, 3);
    EXPECT_THAT(changed_logits(sampler, {1.0f, 1.0f, 1.0f}), ElementsAre(3.5f, 1.0f, 0.0f));
}

TEST(Sampler, RepetitionPenaltyCountsPromptAndAnswer) {
    Sampler sampler({.temperature = 0.0f, .repetition_penalty = 2.0f}, 4);
    sampler.accept_prompt(std::vector<std::int32_t>{0, 0});
    sampler.accept(1);
    // Once, however often a token was seen; negative logits move away from zero.
    EXPECT_THAT(changed_logits(sampler, {4.0f, -3.0f, 4.0f, -3.0f}), ElementsAre(2.0f, -6.0f, 4.0f, -3.0f));
}

TEST(Sampler, PresenceAndFrequencyPenaltiesCountTheAnswerOnly) {
    Sampler sampler({.temperature = 0.0f, .presence_penalty = 0.5f, .frequency_penalty = 0.25f}, 4);
    sampler.accept_prompt(std::vector<std::int32_t>{0, 1, 1});
    for (int token : {1, 2, 2, 2}) sampler.accept(token);
    EXPECT_THAT(changed_logits(sampler, {1.0f, 1.0f, 1.0f, 1.0f}), ElementsAre(1.0f, 0.25f, -0.25f, 1.0f));
}

TEST(Sampler, BiasComesBeforePenaltiesAndRepetitionBeforePresence) {
    Sampler sampler({.temperature = 0.0f,
                     .repetition_penalty = 2.0f,
                     .presence_penalty = 1.0f,
                     .logit_bias = {{0, 3.0f}}},
                    2);
    sampler.accept(0);
    EXPECT_THAT(changed_logits(sampler, {1.0f, 0.0f}), ElementsAre(1.0f, 0.0f));  // (1 + 3) / 2 - 1
}

TEST(Sampler, ThePenaltyWindowForgets) {
    Sampler sampler({.temperature = 0.0f, .frequency_penalty = 1.0f, .penalty_window = 3}, 4);
    for (int token : {0, 1, 1, 2, 1}) sampler.accept(token);  // the window holds 1, 2, 1
    EXPECT_THAT(changed_logits(sampler, {0.0f, 0.0f, 0.0f, 0.0f}), ElementsAre(0.0f, -2.0f, -1.0f, 0.0f));

    Sampler none({.temperature = 0.0f, .repetition_penalty = 2.0f, .penalty_window = 0}, 2);
    none.accept(0);
    EXPECT_THAT(changed_logits(none, {1.0f, 0.0f}), ElementsAre(1.0f, 0.0f));

    Sampler prompt({.temperature = 0.0f, .repetition_penalty = 2.0f, .penalty_window = 2}, 3);
    prompt.accept_prompt(std::vector<std::int32_t>{0, 1});
    prompt.accept(2);
    EXPECT_THAT(changed_logits(prompt, {8.0f, 8.0f, 8.0f}), ElementsAre(8.0f, 4.0f, 4.0f));
}

TEST(Sampler, RefusesLogitsWithoutMeaning) {
    for (float temperature : {0.0f, 1.0f}) {
        Sampler sampler({.temperature = temperature}, 2);
        EXPECT_THAT(
            [&] {
                sample(sampler, {0.0f, std::nanf("")});
            },
            ThrowsMessage<Error>(HasSubstr("not a number")));
        EXPECT_THAT(
            [&] {
                sample(sampler, {kInfinity, 0.0f});
            },
            ThrowsMessage<Error>(HasSubstr("not a number")));
        EXPECT_THAT(
            [&] {
                sample(sampler, {-kInfinity, -kInfinity});
            },
            ThrowsMessage<Error>(HasSubstr("every logit is -infinity")));
    }
}

TEST(Sampler, RefusesTokensOutsideTheVocabulary) {
    Sampler sampler({}, 5);
    EXPECT_THAT([&] { sampler.accept(5); },
                ThrowsMessage<Error>(HasSubstr("token 5 is outside the vocabulary")));
    EXPECT_THAT([&] { sampler.accept(-1); }, ThrowsMessage<Error>(HasSubstr("token -1")));
}

TEST(SamplingOptions, ErrorsNameTheField) {
    const float nan = std::nanf("");
    auto refused = [](const SamplingOptions& options, const char* what) {
        EXPECT_THAT([&] { validate(options, 100); }, ThrowsMessage<Error>(HasSubstr(what)));
    };
    EXPECT_NO_THROW(validate({}, 100));
    for (float bad : {nan, -0.1f, kInfinity, 101.0f}) refused({.temperature = bad}, "temperature");
    for (float bad : {nan, -0.1f, 1.1f}) refused({.top_p = bad}, "top_p");
    for (float bad : {nan, -0.1f, 1.1f}) refused({.min_p = bad}, "min_p");
    refused({.top_k = -1}, "top_k");
    for (float bad : {nan, 0.0f, -1.0f, kInfinity})
        refused({.repetition_penalty = bad}, "repetition_penalty");
    for (float bad : {nan, -101.0f, 101.0f}) refused({.presence_penalty = bad}, "presence_penalty");
    for (float bad : {nan, -101.0f, 101.0f}) refused({.frequency_penalty = bad}, "frequency_penalty");
    refused({.penalty_window = -2}, "penalty_window");
    refused({.logit_bias = {{100, 1.0f}}}, "logit_bias: token 100");
    refused({.logit_bias = {{-1, 1.0f}}}, "logit_bias: token -1");
    for (float bad : {nan, kInfinity, 101.0f}) refused({.logit_bias = {{7, bad}}}, "logit_bias of token 7");
}

}  // namespace
}  // namespace cachalot
