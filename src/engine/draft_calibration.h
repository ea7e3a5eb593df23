// What a drafter's confidence is worth: the share of tokens that were right among those of about the same
// confidence whose predecessors were all right. Learnt as drafts are verified; until enough is known, the
// drafter is believed.
//
// It is kept in a file beside that of the experts' rates (experts/expert_heat.h), little-endian:
//
//     offset  bytes
//     0       8      CCDRAFT1
//     8       16     fingerprint of the model and its drafter
//     24      384    of each of the 24 bins, in their order: tokens that were seen, and right ones (float64)
//     408     16     XXH3-128 of all bytes before
//
// It says how often drafts were right, and nothing about what was written.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/hash.h"
#include "base/log.h"

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

    // Replaces what is known by what is in a file. Throws Error naming it if it cannot be read, is damaged,
    // or is of another drafter; then nothing has changed. sums() are of this process only.
    void load(const std::filesystem::path& path, const Hash128& drafter);

    // The file is there as a whole or not at all, in a folder that exists. Throws Error.
    void save(const std::filesystem::path& path, const Hash128& drafter) const;

  private:
    static constexpr int kBins = 24;  // of half a unit each, from -4 on; the outer ones are open
    static std::size_t bin(float confidence);

    struct Bin {
        double seen = 0, right = 0;
    };
    std::array<Bin, kBins> bins_;
    Sums sums_;
};

// Where a drafter's calibration is kept from one start to the next.
struct CalibrationFile {
    std::filesystem::path path;
    Hash128 drafter;  // fingerprint of the model and its drafter
};

// A calibration and its file, if there is one: read at the beginning, written now and then and in the end.
// What cannot be read or written is logged.
class KeptCalibration {
  public:
    KeptCalibration(std::optional<CalibrationFile> file, Log log);
    ~KeptCalibration();
    KeptCalibration(const KeptCalibration&) = delete;
    KeptCalibration& operator=(const KeptCalibration&) = delete;

    const DraftCalibration& operator*() const { return calibration_; }
    const DraftCalibration* operator->() const { return &calibration_; }
    void judged(std::span<const float> confidences, int accepted);

  private:
    void save();

    DraftCalibration calibration_;
    std::optional<CalibrationFile> file_;
    Log log_;
    int unsaved_ = 0;  // drafts
};

}  // namespace cachalot
