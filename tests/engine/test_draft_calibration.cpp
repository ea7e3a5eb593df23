// What a drafter's confidence is worth.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "base/error.h"
#include "engine/draft_calibration.h"
#include "file/text_file.h"
#include "support/recorded_log.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

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

Hash128 drafter(int n) { return hash128(std::as_bytes(std::span(&n, 1))); }

// One that has seen tokens of all kinds.
void teach(KeptCalibration& calibration, int drafts) {
    for (int i = 0; i < drafts; ++i) {
        const float confidences[] = {static_cast<float>(i % 13) - 5, static_cast<float>(i % 7) - 2};
        calibration.judged(confidences, i % 3);
    }
}

void expect_the_same(const DraftCalibration& a, const DraftCalibration& b) {
    for (float confidence = -7; confidence < 10; confidence += 0.25f)
        EXPECT_EQ(a.probability(confidence), b.probability(confidence)) << confidence;
}

TEST(KeptCalibration, ComesBackFromItsFile) {
    test::TemporaryFolder folder;
    const auto path = folder.path() / "x.drafts";
    DraftCalibration known;
    {
        KeptCalibration first(CalibrationFile{path, drafter(1)}, {});
        EXPECT_FALSE(std::filesystem::exists(path));
        teach(first, 100);
        known = *first;
        EXPECT_FALSE(std::filesystem::exists(path));
        teach(first, 2000);
        EXPECT_TRUE(std::filesystem::exists(path));  // now and then
        known = *first;
    }
    EXPECT_EQ(std::filesystem::file_size(path), 24u + 24 * 16 + 16);
    const auto written = std::filesystem::last_write_time(path);
    {
        const KeptCalibration second(CalibrationFile{path, drafter(1)}, {});
        expect_the_same(*second, known);
        EXPECT_EQ(second->sums().seen, 0);
    }
    EXPECT_EQ(std::filesystem::last_write_time(path), written);  // nothing was learnt
    KeptCalibration nowhere({}, {});
    teach(nowhere, 5000);
    expect_the_same(*nowhere, *nowhere);
}

TEST(KeptCalibration, WhatCannotBeReadOrWrittenIsLogged) {
    test::TemporaryFolder folder;
    const auto path = folder.path() / "x.drafts";
    const auto log = std::make_shared<test::RecordedLog>();
    {
        KeptCalibration calibration(CalibrationFile{path, drafter(1)}, Log(log));
        teach(calibration, 10);
    }
    EXPECT_EQ(log->text(), "");
    {
        KeptCalibration other(CalibrationFile{path, drafter(2)}, Log(log));
        expect_the_same(*other, DraftCalibration());
        teach(other, 1);
    }
    EXPECT_THAT(log->text(), HasSubstr("another drafter"));
    {
        KeptCalibration(CalibrationFile{folder.path() / "no" / "x.drafts", drafter(1)}, Log(log))
            .judged({}, 0);
    }
    EXPECT_THAT(log->text(), HasSubstr("not remembered"));
}

TEST(DraftCalibration, ADamagedFileIsRefusedAndChangesNothing) {
    test::TemporaryFolder folder;
    const auto path = folder.path() / "x.drafts";
    {
        KeptCalibration calibration(CalibrationFile{path, drafter(1)}, {});
        teach(calibration, 100);
    }
    const std::string good = read_text_file(path.string());
    auto refused = [&](const std::string& bytes) -> std::string {
        std::ofstream(path, std::ios::binary) << bytes;
        DraftCalibration calibration;
        try {
            calibration.load(path, drafter(1));
        } catch (const Error& e) {
            EXPECT_THAT(e.what(), HasSubstr(path.string()));
            expect_the_same(calibration, DraftCalibration());
            return e.what();
        }
        return "";
    };
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x41);
        EXPECT_NE(refused(bad), "") << i;
        EXPECT_NE(refused(good.substr(0, i)), "") << i;
    }
    EXPECT_NE(refused(good + "x"), "");
    EXPECT_EQ(refused(good), "");
    // A checksum that is right does not make numbers sensible.
    for (const double seen : {-1.0, 1e9, HUGE_VAL, std::nan("")}) {
        std::string bad = good.substr(0, good.size() - 16);
        std::memcpy(bad.data() + 24, &seen, sizeof seen);
        const auto hash = hash128(std::as_bytes(std::span(bad)));
        bad.append(reinterpret_cast<const char*>(hash.data()), hash.size());
        EXPECT_THAT(refused(bad), HasSubstr("cannot be")) << seen;
    }
    EXPECT_THROW(DraftCalibration().load(folder.path() / "nothing", drafter(1)), Error);
}

}  // namespace
}  // namespace cachalot
