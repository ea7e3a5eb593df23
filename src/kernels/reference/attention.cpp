// The attention side: latent keys, compressor, indexer, sparse attention.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace cachalot::reference {
namespace {

std::vector<float> decoded(const RowFormat& format, const std::byte* row) {
    std::vector<float> x(static_cast<std::size_t>(format.size));
    decode_row(format, row, x.data());
    return x;
}

float dot(const float* a, const float* b, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
    return static_cast<float>(sum);
}

// Pools one compressed row. HCA: the 128 tokens of group j, softmax over them for each channel on its own.
// CSA (overlap): the first half channels of group j-1 and the second half channels of group j, 8 rows; group
// -1 has no weight.
void pool(const CompressCall& c, std::int64_t group, float* out) {
    int n = c.format.size;
    for (int ch = 0; ch < n; ++ch) {
        std::vector<float> score, value;
        auto add = [&](std::int64_t position, int channel) {
            score.push_back(c.score_state.floats(position)[channel]);
            value.push_back(c.kv_state.floats(position)[channel]);
        };
        if (c.overlap && group > 0)
            for (int s = 0; s < c.ratio; ++s) add((group - 1) * c.ratio + s, ch);
        for (int s = 0; s < c.ratio; ++s) add(group * c.ratio + s, c.overlap ? n + ch : ch);
        float largest = *std::max_element(score.begin(), score.end());
        double weight = 0, sum = 0;
        for (std::size_t i = 0; i < score.size(); ++i) {
            double e = std::exp(score[i] - largest);
            weight += e;
            sum += e * value[i];
        }
        out[ch] = static_cast<float>(sum / weight);
    }
}

// The blocks of the candidates of row r, from its scores.
void choose_blocks(const IndexCall& c, int r, const std::vector<float>& score) {
    const auto visible = static_cast<std::int64_t>(score.size());
    const std::int64_t size = c.candidates.block_size, blocks = (visible + size - 1) / size;
    std::vector<float> best(static_cast<std::size_t>(blocks), -std::numeric_limits<float>::infinity());
    for (std::int64_t j = 0; j < visible; ++j) best[j / size] = std::max(best[j / size], score[j]);
    best.back() = std::numeric_limits<float>::infinity();
    std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return best[a] > best[b]; });
    std::sort(order.begin(), order.begin() + c.candidates.most);
    std::copy_n(order.begin(), c.candidates.most, c.candidates.blocks + std::int64_t(r) * c.candidates.most);
}

}  // namespace

void latent(const LatentCall& c) {
    int d = c.format.size;
    for (int r = 0; r < c.rows; ++r) {
        std::vector<float> kv(c.kv + std::int64_t(r) * d, c.kv + std::int64_t(r + 1) * d);
        rms_norm(kv.data(), c.norm, c.norm_eps, d);
        rotate(kv.data(), d, c.rotary.cosine + r * c.rotary.half, c.rotary.sine + r * c.rotary.half,
               c.rotary.half, false);
        encode_row(c.format, kv.data(), c.window.row(c.start + r));
    }
}

void compress(const CompressCall& c) {
    int n = c.format.size, half = c.format.rotary / 2;
    std::vector<float> x(static_cast<std::size_t>(n)), cosine(static_cast<std::size_t>(half)), sine(cosine);
    for (int r = 0; r < c.rows; ++r) {
        std::int64_t position = c.start + r;
        for (int i = 0; c.ratio > 1 && i < c.width; ++i) {
            c.kv_state.floats(position)[i] = c.kv[std::int64_t(r) * c.width + i];
            c.score_state.floats(position)[i] = c.gate[std::int64_t(r) * c.width + i] +
                                                (c.ape ? c.ape[position % c.ratio * c.width + i] : 0.0f);
        }
        if ((position + 1) % c.ratio != 0) continue;
        std::int64_t group = position / c.ratio;
        if (c.ratio > 1)
            pool(c, group, x.data());
        else
            std::copy_n(c.kv + std::int64_t(r) * n, n, x.data());
        rms_norm(x.data(), c.norm, c.norm_eps, n);
        if (c.latents) std::copy_n(x.data(), n, c.latents + (group - c.start / c.ratio) * n);
        for (int i = 0; i < half; ++i) {  // the row stands at its group's first token
            float angle = static_cast<float>(group * c.ratio) * c.frequencies[i];
            cosine[i] = std::cos(angle);
            sine[i] = std::sin(angle);
        }
        rotate(x.data(), n, cosine.data(), sine.data(), half, false);
        if (c.hadamard) hadamard(x.data(), n);
        encode_row(c.format, x.data(), c.out.row(group));
    }
}

void keys(const KeyCall& c) {
    int n = c.format.size, half = c.format.rotary / 2;
    std::vector<float> cosine(static_cast<std::size_t>(half)), sine(cosine);
    for (int r = 0; r < c.rows; ++r) {
        float* key = c.keys + std::int64_t(r) * n;
        rms_norm(key, c.norm, c.norm_eps, n);
        for (int i = 0; i < half; ++i) {
            float angle = static_cast<float>((c.first + r) * c.ratio) * c.frequencies[i];
            cosine[i] = std::cos(angle);
            sine[i] = std::sin(angle);
        }
        rotate(key, n, cosine.data(), sine.data(), half, false);
        encode_row(c.format, key, c.out.row(c.first + r));
    }
}

void index(const IndexCall& c) {
    int n = c.format.size;
    for (int r = 0; r < c.rows; ++r) {
        float* q = c.q + std::int64_t(r) * c.heads * n;
        for (int h = 0; h < c.heads; ++h) {
            rotate(q + h * n, n, c.rotary.cosine + r * c.rotary.half, c.rotary.sine + r * c.rotary.half,
                   c.rotary.half, false);
            if (c.hadamard) hadamard(q + h * n, n);
            if (c.format.kind == RowFormat::Kind::fp4_key) round_fp4(q + h * n, n);
        }
        std::int64_t visible = (c.start + r + 1) / c.ratio;
        if (visible <= c.top_k) continue;  // attention takes them all
        // I[j] = sum over heads of relu(q_h . k_j) * w_h / sqrt(n * heads)
        std::vector<float> score(static_cast<std::size_t>(visible));
        float scale = 1.0f / std::sqrt(static_cast<float>(n) * static_cast<float>(c.heads));
        for (std::int64_t j = 0; j < visible; ++j) {
            auto key = decoded(c.format, c.keys.row(j));
            for (int h = 0; h < c.heads; ++h)
                score[j] += std::max(0.0f, dot(q + h * n, key.data(), n)) *
                            (c.weights[std::int64_t(r) * c.heads + h] * scale);
        }
        for (float& s : score)
            if (std::isnan(s))
                s = -std::numeric_limits<float>::infinity();  // broken weights: any choice, but a choice
        if (c.candidates.restrict(visible)) {
            if (c.make_candidates) {
                choose_blocks(c, r, score);
            } else {
                std::vector<bool> candidate(score.size());
                for (int i = 0; i < c.candidates.most; ++i)
                    for (std::int64_t j = 0,
                                      first = std::int64_t(c.candidates.block_size) *
                                              c.candidates.blocks[std::int64_t(r) * c.candidates.most + i];
                         j < c.candidates.block_size && first + j < visible; ++j)
                        candidate[first + j] = true;
                for (std::int64_t j = 0; j < visible; ++j)
                    if (!candidate[j]) score[j] = -std::numeric_limits<float>::infinity();
            }
        }
        std::vector<std::int32_t> order(static_cast<std::size_t>(visible));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return score[a] > score[b]; });
        std::sort(order.begin(), order.begin() + c.top_k);
        std::copy_n(order.begin(), c.top_k, c.selected + std::int64_t(r) * c.top_k);
    }
}

void attend(const AttendCall& c) {
    int d = c.window_format.size;
    float scale = 1.0f / std::sqrt(static_cast<float>(d));
    for (int r = 0; r < c.rows; ++r) {
        std::int64_t position = c.start + r;
        std::vector<std::vector<float>> keys;
        for (auto p = c.oldest(r); p <= c.newest(r); ++p)
            keys.push_back(decoded(c.window_format, c.window.row(p)));
        std::int64_t visible = c.ratio ? (position + 1) / c.ratio : 0;
        bool chosen = c.selected && visible > c.top_k;
        for (std::int64_t i = 0; i < (chosen ? c.top_k : visible); ++i)
            keys.push_back(decoded(c.compressed_format,
                                   c.compressed.row(chosen ? c.selected[std::int64_t(r) * c.top_k + i] : i)));
        for (int h = 0; h < c.heads; ++h) {
            std::int64_t at = (std::int64_t(r) * c.heads + h) * d;
            // softmax over the keys; the sink takes part in the denominator only
            std::vector<float> p(keys.size());
            float largest = -std::numeric_limits<float>::infinity();
            for (std::size_t i = 0; i < keys.size(); ++i)
                largest = std::max(largest, p[i] = dot(c.q + at, keys[i].data(), d) * scale);
            double denominator = std::exp(static_cast<double>(c.sinks[h]) - largest);
            for (float& v : p) denominator += v = std::exp(v - largest);
            for (int ch = 0; ch < d; ++ch) {
                double sum = 0;
                for (std::size_t i = 0; i < keys.size(); ++i) sum += static_cast<double>(p[i]) * keys[i][ch];
                c.out[at + ch] = static_cast<float>(sum / denominator);
            }
            // keys are values, so the output carries their rotation; turning it back makes it relative to the
            // query
            rotate(c.out + at, d, c.rotary.cosine + r * c.rotary.half, c.rotary.sine + r * c.rotary.half,
                   c.rotary.half, true);
        }
    }
}

}  // namespace cachalot::reference
