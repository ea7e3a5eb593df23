// Latent keys and the compressor on the CPU: what is written into the attention state.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_primitives.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace cachalot::cpu {
namespace {

// Pools one compressed row: per channel, softmax over the rows' scores. Channel c of row s of the previous
// group is column c, of this group column n + c (overlap) or c.
void pool(const Table& kernels, const CompressCall& c, std::int64_t group, float* out) {
    const int n = c.format.size, previous = c.overlap && group > 0 ? c.ratio : 0;
    std::vector<const float*> scores, values;
    for (int s = -previous; s < c.ratio; ++s) {
        const std::int64_t position = group * c.ratio + s;
        const int column = c.overlap && s >= 0 ? n : 0;
        scores.push_back(c.score_state.floats(position) + column);
        values.push_back(c.kv_state.floats(position) + column);
    }
    kernels.pool(scores.data(), values.data(), static_cast<int>(scores.size()), n, out);
}

// cosine, sine: room for [half].
void rotate_to(std::int64_t position, const float* frequencies, float* x, int n, float* cosine, float* sine,
               int half) {
    for (int i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position) * frequencies[i];
        cosine[i] = std::cos(angle);
        sine[i] = std::sin(angle);
    }
    reference::rotate(x, n, cosine, sine, half, false);
}

}  // namespace

void CpuPrimitives::latent(std::span<const LatentCall> calls) {
    for (const auto& c : calls)
        each(c.rows, std::int64_t(c.rows) * c.format.size * 8, [&](std::int64_t r, int thread) {
            int d = c.format.size;
            float* kv =
                scratch_[static_cast<std::size_t>(thread)].values.reserve(static_cast<std::size_t>(d));
            std::copy_n(c.kv + r * d, d, kv);
            kernels_.rms_norm(kv, c.norm, c.norm_eps, d);
            reference::rotate(kv, d, c.rotary.cosine + r * c.rotary.half, c.rotary.sine + r * c.rotary.half,
                              c.rotary.half, false);
            encode_row(c.format, kv, c.window.row(c.start + r));
        });
}

void CpuPrimitives::compress(std::span<const CompressCall> calls) {
    for (const auto& c : calls) {
        // A group can need rows that a wrapped ring would overwrite only if the ring is too small; the caller
        // sees to that. So all rows are stored first and the finished groups pooled in parallel.
        each(c.ratio > 1 ? c.rows : 0, std::int64_t(c.rows) * c.width, [&](std::int64_t r, int) {
            std::int64_t position = c.start + r;
            std::copy_n(c.kv + r * c.width, c.width, c.kv_state.floats(position));
            float* score = c.score_state.floats(position);
            std::copy_n(c.gate + r * c.width, c.width, score);
            if (c.ape) kernels_.add(score, c.ape + position % c.ratio * c.width, c.width);
        });
        std::int64_t first = c.start / c.ratio, groups = (c.start + c.rows) / c.ratio - first;
        int n = c.format.size, half = c.format.rotary / 2;
        each(groups, groups * n * c.ratio * 16, [&](std::int64_t i, int thread) {
            float* x = scratch_[static_cast<std::size_t>(thread)].values.reserve(
                static_cast<std::size_t>(n + 2 * half));
            float *cosine = x + n, *sine = cosine + half;
            if (c.ratio > 1)
                pool(kernels_, c, first + i, x);
            else
                std::copy_n(c.kv + i * n, n, x);
            kernels_.rms_norm(x, c.norm, c.norm_eps, n);
            if (c.latents) std::copy_n(x, n, c.latents + i * n);
            rotate_to((first + i) * c.ratio, c.frequencies, x, n, cosine, sine, half);
            if (c.hadamard) hadamard(x, n);
            encode_row(c.format, x, c.out.row(first + i));
        });
    }
}

void CpuPrimitives::keys(std::span<const KeyCall> calls) {
    for (const auto& c : calls) {
        const int n = c.format.size, half = c.format.rotary / 2;
        each(c.rows, std::int64_t(c.rows) * n * 8, [&](std::int64_t r, int thread) {
            float* cosine =
                scratch_[static_cast<std::size_t>(thread)].values.reserve(static_cast<std::size_t>(2 * half));
            float* key = c.keys + r * n;
            kernels_.rms_norm(key, c.norm, c.norm_eps, n);
            rotate_to((c.first + r) * c.ratio, c.frequencies, key, n, cosine, cosine + half, half);
            encode_row(c.format, key, c.out.row(c.first + r));
        });
    }
}

}  // namespace cachalot::cpu
