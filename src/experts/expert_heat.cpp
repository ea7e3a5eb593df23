#include "experts/expert_heat.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "file/byte_reader.h"
#include "file/mapped_file.h"
#include "file/output_file.h"
#include "model/fingerprint.h"

namespace cachalot {
namespace {

constexpr std::string_view kMagic = "CCHEAT01";
constexpr double kHalfLife = 4096;  // tokens
constexpr double kMostUnit = 1e100;

}  // namespace

ExpertHeat::ExpertHeat(int layers, int experts, const Hash128& model)
    : layers_(layers),
      experts_(experts),
      model_(model),
      counts_(static_cast<std::size_t>(layers) * static_cast<std::size_t>(experts), 0.0) {}

void ExpertHeat::begin_pass(int tokens) {
    unit_ *= std::exp2(tokens / kHalfLife);
    mass_ += unit_ * tokens;
    if (unit_ < kMostUnit) return;
    for (double& count : counts_) count /= unit_;
    mass_ /= unit_;
    unit_ = 1;
}

double ExpertHeat::rate(ExpertKey key) const { return mass_ > 0 ? counts_[key] / mass_ : 0; }

std::vector<ExpertKey> ExpertHeat::hottest() const {
    std::vector<ExpertKey> keys;
    for (ExpertKey key = 0; key < counts_.size(); ++key)
        if (rate(key) > 0) keys.push_back(key);
    std::stable_sort(keys.begin(), keys.end(),
                     [&](ExpertKey a, ExpertKey b) { return counts_[a] > counts_[b]; });
    return keys;
}

void ExpertHeat::load(const std::filesystem::path& path) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    ByteReader in(bytes, file.path());
    const auto magic = in.take(kMagic.size(), "the head");
    if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0)
        fail("{}: not a file of expert rates", file.path());
    const auto model = in.take(model_.size(), "the model's fingerprint");
    if (!std::equal(model.begin(), model.end(), model_.begin()))
        fail("{}: made with another model", file.path());
    const auto layers = in.read<std::uint32_t>("layers"), experts = in.read<std::uint32_t>("experts");
    if (layers != static_cast<std::uint32_t>(layers_) || experts != static_cast<std::uint32_t>(experts_))
        fail("{}: {} layers of {} experts, the model has {} of {}", file.path(), layers, experts, layers_,
             experts_);
    const auto tokens = in.read<double>("tokens");
    const auto rates = in.take(counts_.size() * sizeof(float), "rates");
    const auto hash = hash128(bytes.first(in.offset()));
    const auto stored = in.take(hash.size(), "the checksum");
    if (!std::equal(stored.begin(), stored.end(), hash.begin()) || in.left() > 0)
        fail("{}: damaged", file.path());
    std::vector<float> values(counts_.size());
    std::memcpy(values.data(), rates.data(), rates.size());
    const bool sane = tokens >= 0 && tokens < 1e9 && std::all_of(values.begin(), values.end(), [](float v) {
                          return v >= 0 && v <= 1.001f;
                      });
    if (!sane) fail("{}: rates that cannot be", file.path());
    unit_ = 1;
    mass_ = tokens;
    for (std::size_t i = 0; i < values.size(); ++i) counts_[i] = static_cast<double>(values[i]) * tokens;
}

void ExpertHeat::save(const std::filesystem::path& path) const {
    std::vector<std::byte> bytes;
    auto add = [&](const void* data, std::size_t size) {
        const auto* first = static_cast<const std::byte*>(data);
        bytes.insert(bytes.end(), first, first + size);
    };
    const auto layers = static_cast<std::uint32_t>(layers_), experts = static_cast<std::uint32_t>(experts_);
    const double tokens = this->tokens();
    add(kMagic.data(), kMagic.size());
    add(model_.data(), model_.size());
    add(&layers, sizeof layers);
    add(&experts, sizeof experts);
    add(&tokens, sizeof tokens);
    for (ExpertKey key = 0; key < counts_.size(); ++key) {
        const auto value = static_cast<float>(rate(key));
        add(&value, sizeof value);
    }
    const auto hash = hash128(bytes);
    add(hash.data(), hash.size());
    OutputFile file(path);
    file.write(bytes);
    file.commit();
}

HeatFile open_heat_file(const Model& model, const std::filesystem::path& path) {
    HeatFile file{{model.config.layers, model.config.experts, model_fingerprint(model)}, path};
    if (std::filesystem::exists(path)) file.heat.load(path);
    return file;
}

}  // namespace cachalot
