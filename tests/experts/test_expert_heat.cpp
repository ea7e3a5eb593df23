// What is remembered between sessions comes back as it was, or not at all.
#include "experts/expert_heat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

Hash128 model(int n) { return hash128(std::as_bytes(std::span(&n, 1))); }

std::string contents(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

ExpertHeat used() {
    ExpertHeat heat(2, 3, model(1));
    for (int token = 0; token < 10; ++token) {
        heat.begin_pass(1);
        heat.count(4, 1);
        if (token % 2) heat.count(1, 1);
    }
    heat.begin_pass(10);
    heat.count(4, 10);
    heat.count(0, 1);
    return heat;
}

TEST(ExpertHeat, RatesAreSharesOfTheTokensLately) {
    const ExpertHeat heat = used();
    EXPECT_NEAR(heat.tokens(), 20, 0.1);
    EXPECT_NEAR(heat.rate(4), 1, 1e-9);
    EXPECT_NEAR(heat.rate(1), 0.25, 0.01);
    EXPECT_NEAR(heat.rate(0), 0.05, 0.01);
    EXPECT_EQ(heat.rate(2), 0);
    EXPECT_EQ(heat.hottest(), (std::vector<ExpertKey>{4, 1, 0}));
    ExpertHeat ages(1, 2, model(1));
    ages.begin_pass(1000);
    ages.count(0, 1000);
    for (int i = 0; i < 100'000; ++i) {  // numbers stay finite
        ages.begin_pass(100);
        ages.count(1, 50);
    }
    EXPECT_NEAR(ages.rate(1), 0.5, 1e-6);
    EXPECT_LT(ages.rate(0), 1e-9);
    EXPECT_LT(ages.tokens(), 10'000);
    EXPECT_EQ(ExpertHeat(1, 2, model(1)).hottest(), std::vector<ExpertKey>());
}

TEST(ExpertHeat, ComesBackFromItsFileAndGoesOn) {
    test::TemporaryFolder folder;
    const auto path = folder.path() / "x.heat";
    ExpertHeat heat = used(), again(2, 3, model(1));
    heat.save(path);
    again.load(path);
    again.save(folder.path() / "y.heat");
    EXPECT_EQ(contents(path), contents(folder.path() / "y.heat"));
    EXPECT_EQ(contents(path).size(), 40u + 4 * 6 + 16);
    for (ExpertHeat* h : {&heat, &again}) {
        h->begin_pass(5);
        h->count(2, 5);
    }
    for (ExpertKey key = 0; key < 6; ++key) EXPECT_NEAR(heat.rate(key), again.rate(key), 1e-6);
    EXPECT_THROW(heat.save(folder.path() / "missing" / "x.heat"), Error);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 2);
}

TEST(ExpertHeat, ADamagedOrForeignFileIsRefusedAndChangesNothing) {
    test::TemporaryFolder folder;
    const auto path = folder.path() / "x.heat";
    used().save(path);
    const std::string good = contents(path);
    auto refused = [&](const std::string& bytes, ExpertHeat heat) -> std::string {
        std::ofstream(path, std::ios::binary) << bytes;
        heat.begin_pass(1);
        heat.count(5, 1);
        try {
            heat.load(path);
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr(path.string()));
            EXPECT_EQ(heat.hottest(), std::vector<ExpertKey>{5});
            return e.what();
        }
        return "";
    };
    const ExpertHeat fitting(2, 3, model(1));
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x41);
        EXPECT_NE(refused(bad, fitting), "") << i;
        EXPECT_NE(refused(good.substr(0, i), fitting), "") << i;
    }
    EXPECT_NE(refused(good + "x", fitting), "");
    EXPECT_THAT(refused(good, ExpertHeat(2, 3, model(2))), HasSubstr("another model"));
    EXPECT_THAT(refused(good, ExpertHeat(3, 2, model(1))), HasSubstr("2 layers of 3 experts"));
    EXPECT_EQ(refused(good, fitting), "");
    // A checksum that is right does not make numbers sensible.
    for (const float rate : {-1.0f, 2.0f, NAN}) {
        std::string bad = good.substr(0, good.size() - 16);
        std::memcpy(bad.data() + 40, &rate, sizeof rate);
        const auto hash = hash128(std::as_bytes(std::span(bad)));
        bad.append(reinterpret_cast<const char*>(hash.data()), hash.size());
        EXPECT_THAT(refused(bad, fitting), HasSubstr("rates")) << rate;
    }
    EXPECT_THROW(ExpertHeat(2, 3, model(1)).load(folder.path() / "nothing.heat"), Error);
}

}  // namespace
}  // namespace cachalot
