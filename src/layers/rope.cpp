#include "layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cachalot {

std::vector<float> rope_frequencies(const RopeConfig& rope, int rope_dim, bool compressed) {
    int half = rope_dim / 2;
    double theta = compressed ? rope.compress_theta : rope.theta;
    std::vector<float> f(static_cast<std::size_t>(half));
    for (int i = 0; i < half; ++i) f[i] = static_cast<float>(std::pow(theta, -2.0 * i / rope_dim));
    if (!compressed || rope.yarn_factor == 1.0f) return f;

    // The dimension that turns `rotations` times within the original context.
    auto dimension = [&](double rotations) {
        double context = static_cast<double>(rope.yarn_original_context);
        return rope_dim * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    double low = std::max(std::floor(dimension(rope.yarn_beta_fast)), 0.0);
    double high = std::min(std::ceil(dimension(rope.yarn_beta_slow)), rope_dim - 1.0);
    if (high == low) high += 0.001;  // no ramp: avoid 0/0
    for (int i = 0; i < half; ++i) {
        auto ramp = static_cast<float>(std::clamp((i - low) / (high - low), 0.0, 1.0));
        f[i] = f[i] / rope.yarn_factor * ramp + f[i] * (1 - ramp);
    }
    return f;
}

RopeTables::RopeTables(const Config& config) : half_(config.rope_dim / 2) {
    for (bool compressed : {false, true})
        frequencies_[compressed] = rope_frequencies(config.rope, config.rope_dim, compressed);
}

void RopeTables::prepare(std::span<const std::int64_t> positions) {
    const std::size_t size = positions.size() * static_cast<std::size_t>(half_);
    for (int table = 0; table < 2; ++table) {
        float* cosine = cosine_[table].reserve(size);  // [rows, R/2]
        float* sine = sine_[table].reserve(size);      // [rows, R/2]
        for (const std::int64_t position : positions)
            for (int i = 0; i < half_; ++i) {
                const float angle = static_cast<float>(position) * frequencies_[table][i];
                *cosine++ = std::cos(angle);
                *sine++ = std::sin(angle);
            }
    }
}

RotaryView RopeTables::rows(bool compressed, int first_row) const {
    return {cosine_[compressed].data() + first_row * half_, sine_[compressed].data() + first_row * half_,
            half_};
}

}  // namespace cachalot
