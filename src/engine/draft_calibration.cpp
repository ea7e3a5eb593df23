#include "engine/draft_calibration.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "file/byte_reader.h"
#include "file/mapped_file.h"
#include "file/output_file.h"

namespace cachalot {
namespace {

constexpr double kBelief = 8;   // tokens that what the drafter says counts as much as
constexpr double kKept = 0.99;  // of what a bin knows, with each token

constexpr std::string_view kMagic = "CCDRAFT1";
constexpr int kSaveEvery = 2000;  // drafts

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

void DraftCalibration::load(const std::filesystem::path& path, const Hash128& drafter) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    ByteReader in(bytes, file.path());
    const auto magic = in.take(kMagic.size(), "the head");
    if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0)
        fail("{}: does not say what drafts are worth", file.path());
    const auto of = in.take(drafter.size(), "the drafter's fingerprint");
    if (!std::equal(of.begin(), of.end(), drafter.begin()))
        fail("{}: made with another drafter", file.path());
    std::array<Bin, kBins> bins;
    for (Bin& b : bins) {
        b.seen = in.read<double>("tokens");
        b.right = in.read<double>("right tokens");
    }
    const auto hash = hash128(bytes.first(in.offset()));
    const auto stored = in.take(hash.size(), "the checksum");
    if (!std::equal(stored.begin(), stored.end(), hash.begin()) || in.left() > 0)
        fail("{}: damaged", file.path());
    constexpr double kMost = 1 / (1 - kKept) + 1;  // to which a bin forgets
    const bool sane = std::ranges::all_of(
        bins, [](const Bin& b) { return b.right >= 0 && b.right <= b.seen && b.seen <= kMost; });
    if (!sane) fail("{}: numbers of tokens that cannot be", file.path());
    bins_ = bins;
}

void DraftCalibration::save(const std::filesystem::path& path, const Hash128& drafter) const {
    std::vector<std::byte> bytes;
    auto add = [&](const void* data, std::size_t size) {
        const auto* first = static_cast<const std::byte*>(data);
        bytes.insert(bytes.end(), first, first + size);
    };
    add(kMagic.data(), kMagic.size());
    add(drafter.data(), drafter.size());
    for (const Bin& b : bins_) {
        add(&b.seen, sizeof b.seen);
        add(&b.right, sizeof b.right);
    }
    const auto hash = hash128(bytes);
    add(hash.data(), hash.size());
    OutputFile file(path);
    file.write(bytes);
    file.commit();
}

KeptCalibration::KeptCalibration(std::optional<CalibrationFile> file, Log log)
    : file_(std::move(file)), log_(std::move(log)) {
    if (!file_ || !std::filesystem::exists(file_->path)) return;
    try {
        calibration_.load(file_->path, file_->drafter);
    } catch (const Error& e) {
        log_.write(LogLevel::warn, "what drafts are worth is learnt anew", {{"error", e.what()}});
    }
}

KeptCalibration::~KeptCalibration() {
    if (unsaved_ > 0) save();
}

void KeptCalibration::judged(std::span<const float> confidences, int accepted) {
    calibration_.judged(confidences, accepted);
    if (++unsaved_ >= kSaveEvery) save();
}

// What goes wrong here is no request's fault, and the next time it may work.
void KeptCalibration::save() {
    unsaved_ = 0;
    if (!file_) return;
    try {
        calibration_.save(file_->path, file_->drafter);
    } catch (const Error& e) {
        log_.often(LogLevel::warn, "what drafts are worth is not remembered", {{"error", e.what()}});
    }
}

}  // namespace cachalot
