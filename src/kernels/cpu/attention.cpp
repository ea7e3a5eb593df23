// The attention side on the CPU: latent keys, compressor, indexer, sparse attention.
//
// Attention of one query reads at most window + top_k rows (CSA) or window + t/128 rows (HCA), decodes them 32 at a
// time into a tile that stays in the first two cache levels, and uses the tile for all its heads. The softmax is
// taken online: each head keeps the largest score so far, the sum and the weighted values, and rescales both when a
// tile brings a larger score. The sink is where the running maximum starts, as a key whose value is zero. Tiles are
// taken in a fixed order that depends on the position only.
//
// The work is proportional to the rows attended. Only the indexer looks at every compressed row, at a cost of
// heads x 128 multiply-adds a row. A page of its keys is a matrix in a format that the products know (fp4_pairs), and
// the queries, rounded to FP4 as well, are rows of activations: the products are those of weights, by integers, and
// exact. Twice an E2M1 value is an integer, and what is left are powers of two.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"
#include "tensor/float_formats.h"

namespace cachalot::cpu {
namespace {

constexpr int kKeyTile = 32;
constexpr std::int64_t kIndexScratch = std::int64_t(1) << 22;  // floats of scores held at once: 16 MiB
constexpr int kIndexRows = 256;  // rows (heads of queries) that are multiplied by a page of keys at once

// Pools one compressed row: per channel, softmax over the rows' scores. Channel c of row s of the previous group is
// column c, of this group column n + c (overlap) or c.
void pool(const CompressCall& c, std::int64_t group, float* out) {
    int n = c.format.size, previous = c.overlap && group > 0 ? c.ratio : 0;
    float largest[64], weight[64], sum[64];  // channels are taken 64 at a time
    for (int first = 0; first < n; first += 64) {
        int count = std::min(64, n - first);
        auto each_row = [&](auto use) {
            for (int s = -previous; s < c.ratio; ++s) {
                std::int64_t position = group * c.ratio + s;
                int column = first + (c.overlap && s >= 0 ? n : 0);
                use(c.score_state.floats(position) + column, c.kv_state.floats(position) + column);
            }
        };
        std::fill_n(largest, count, -std::numeric_limits<float>::infinity());
        std::fill_n(weight, count, 0.0f);
        std::fill_n(sum, count, 0.0f);
        each_row([&](const float* score, const float*) {
            for (int i = 0; i < count; ++i) largest[i] = std::max(largest[i], score[i]);
        });
        each_row([&](const float* score, const float* kv) {
            for (int i = 0; i < count; ++i) {
                float e = std::exp(score[i] - largest[i]);
                weight[i] += e;
                sum[i] += e * kv[i];
            }
        });
        for (int i = 0; i < count; ++i) out[first + i] = sum[i] / weight[i];
    }
}

// The compressed rows that query row r attends.
struct Visible {
    std::int64_t count = 0;
    const std::int32_t* selected = nullptr;  // null: rows 0 .. count-1

    std::int64_t operator[](std::int64_t i) const { return selected ? selected[i] : i; }
};
Visible visible_rows(const AttendCall& c, int r) {
    if (!c.ratio) return {};
    std::int64_t complete = (c.start + r + 1) / c.ratio;
    if (c.selected && complete > c.top_k) return {c.top_k, c.selected + std::int64_t(r) * c.top_k};
    return {complete, nullptr};
}

// Keys [first, first + count) of the indexer, which lie in one page.
Matrix key_matrix(const IndexCall& c, std::int64_t first, std::int64_t count) {
    Matrix m{DType::f32, count, c.format.size, c.keys.row(first), c.keys.row_bytes};
    if (c.format.kind == RowFormat::Kind::fp4_key) {
        m.dtype = DType::fp4_pairs;
        m.scales = reinterpret_cast<const std::uint8_t*>(m.data + c.format.size / 2);
        m.scale_stride = m.stride;
    }
    return m;
}

// A row of format fp4_key as int8: q is twice the E2M1 value. Group g goes to q[g * q_rows].
void quantize_fp4(const std::byte* row, int n, Int8Group* q, std::int64_t q_rows) {
    const auto* codes = reinterpret_cast<const std::uint8_t*>(row);
    const std::uint8_t* scales = codes + n / 2;
    for (int g = 0; g < n / kKeyQuantGroup; ++g, q += q_rows) {
        *q = {};
        q->scale = 0.5f * e8m0_to_f32(scales[g]);
        for (int i = 0; i < kKeyQuantGroup; ++i) {
            const int byte = codes[(g * kKeyQuantGroup + i) / 2], code = i % 2 ? byte >> 4 : byte & 15;
            q->q[i] = static_cast<std::int8_t>(2 * e2m1_to_f32(static_cast<std::uint8_t>(code)));
            q->pair_sums[i / 2 % 2] = static_cast<std::int16_t>(q->pair_sums[i / 2 % 2] + q->q[i]);
            q->half_sums[i / 16] += q->scale * q->q[i];
        }
    }
}

}  // namespace

void CpuBackend::query_heads(float* q, float eps, const RotaryView& rotary, int rows, int heads,
                             int head_dim) {
    each(rows, std::int64_t(rows) * heads * head_dim * 2, [&](std::int64_t r, int) {
        for (int h = 0; h < heads; ++h) {
            float* head = q + (r * heads + h) * head_dim;
            kernels_.rms_norm(head, nullptr, eps, head_dim);
            reference::rotate(head, head_dim, rotary.cosine + r * rotary.half, rotary.sine + r * rotary.half,
                              rotary.half, false);
        }
    });
}

void CpuBackend::latent(std::span<const LatentCall> calls) {
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

void CpuBackend::compress(std::span<const CompressCall> calls) {
    for (const auto& c : calls) {
        // A group can need rows that a wrapped ring would overwrite only if the ring is too small; the caller sees
        // to that. So all rows are stored first and the finished groups pooled in parallel.
        each(c.rows, std::int64_t(c.rows) * c.width, [&](std::int64_t r, int) {
            std::int64_t position = c.start + r;
            std::copy_n(c.kv + r * c.width, c.width, c.kv_state.floats(position));
            float* score = c.score_state.floats(position);
            std::copy_n(c.gate + r * c.width, c.width, score);
            kernels_.add(score, c.ape + position % c.ratio * c.width, c.width);
        });
        std::int64_t first = c.start / c.ratio, groups = (c.start + c.rows) / c.ratio - first;
        int n = c.format.size, half = c.format.rotary / 2;
        each(groups, groups * n * c.ratio * 16, [&](std::int64_t i, int thread) {
            float* x = scratch_[static_cast<std::size_t>(thread)].values.reserve(
                static_cast<std::size_t>(n + 2 * half));
            float *cosine = x + n, *sine = cosine + half;
            pool(c, first + i, x);
            kernels_.rms_norm(x, c.norm, c.norm_eps, n);
            for (int j = 0; j < half; ++j) {
                float angle = static_cast<float>((first + i) * c.ratio) * c.frequencies[j];
                cosine[j] = std::cos(angle);
                sine[j] = std::sin(angle);
            }
            reference::rotate(x, n, cosine, sine, half, false);
            if (c.hadamard) hadamard(x, n);
            encode_row(c.format, x, c.out.row(first + i));
        });
    }
}

void CpuBackend::index(std::span<const IndexCall> calls) {
    for (const auto& c : calls) {
        // Only the rows that see more than top_k compressed rows need a choice; they are the last ones.
        std::int64_t needed = std::int64_t(c.top_k + 1) * c.ratio - 1;  // the first position that does
        auto skip = static_cast<int>(std::clamp<std::int64_t>(needed - c.start, 0, c.rows));
        // Scores of as many rows as fit in the scratch are held at once.
        std::int64_t most = (c.start + c.rows) / c.ratio;
        auto block = static_cast<int>(
            std::clamp<std::int64_t>(kIndexScratch / std::max<std::int64_t>(most, 1), 1, 64));
        for (int r = skip; r < c.rows; r += block) {
            IndexCall part = c;
            part.start += r;
            part.rows = std::min(block, c.rows - r);
            part.q += std::int64_t(r) * c.heads * c.format.size;
            part.weights += std::int64_t(r) * c.heads;
            part.rotary.cosine += std::int64_t(r) * c.rotary.half;
            part.rotary.sine += std::int64_t(r) * c.rotary.half;
            part.selected += std::int64_t(r) * c.top_k;
            index_one(part);
        }
    }
}

void CpuBackend::index_one(const IndexCall& c) {
    const int n = c.format.size;
    CACHALOT_CHECK(c.format.kind != RowFormat::Kind::fp8_kv);
    const bool fp4 = c.format.kind == RowFormat::Kind::fp4_key;
    const std::int64_t query_rows = std::int64_t(c.rows) * c.heads;
    Int8Group* quantized =
        fp4 ? index_queries_.reserve(static_cast<std::size_t>(query_rows * n / 32)) : nullptr;
    each(c.rows, query_rows * n * 8, [&](std::int64_t r, int thread) {
        auto* bytes = reinterpret_cast<std::byte*>(
            scratch_[static_cast<std::size_t>(thread)].values.reserve(static_cast<std::size_t>(n)));
        for (std::int64_t h = r * c.heads; h < (r + 1) * c.heads; ++h) {
            float* q = c.q + h * n;
            reference::rotate(q, n, c.rotary.cosine + r * c.rotary.half, c.rotary.sine + r * c.rotary.half,
                              c.rotary.half, false);
            hadamard(q, n);
            if (!fp4) continue;
            encode_row(c.format, q, bytes);
            quantize_fp4(bytes, n, quantized + h, query_rows);
        }
    });
    const Activations queries{c.q, n, quantized, query_rows};
    const std::int64_t most = (c.start + c.rows) / c.ratio;  // visible to the last row
    float* scores = index_scores_.reserve(static_cast<std::size_t>(c.rows * most));
    const std::int64_t page = std::int64_t(1) << c.keys.page_shift;
    each((most + page - 1) / page, query_rows * most * n, [&](std::int64_t p, int thread) {
        const std::int64_t first = p * page, count = std::min(page, most - first);
        const Matrix keys = key_matrix(c, first, count);
        const int together = std::max(1, kIndexRows / c.heads);
        float* dots = scratch_[static_cast<std::size_t>(thread)].values.reserve(
            static_cast<std::size_t>(together * c.heads * count));
        // The common factor (n * heads)^-1/2 of the scores does not change their order; it is left out.
        for (int r = 0; r < c.rows; r += together) {
            const int rows = std::min(together, c.rows - r);
            kernels_.matmul(keys, 0, count, queries.from_row(std::int64_t(r) * c.heads), rows * c.heads, dots,
                            count);
            for (int i = 0; i < rows; ++i)
                kernels_.index_scores(dots + i * c.heads * count, c.weights + std::int64_t(r + i) * c.heads,
                                      c.heads, static_cast<int>(count), count,
                                      scores + (r + i) * most + first);
        }
    });
    each(c.rows, c.rows * most * 4, [&](std::int64_t r, int thread) {
        std::int64_t visible = (c.start + r + 1) / c.ratio;
        float* score = scores + r * most;
        for (std::int64_t i = 0; i < visible; ++i)
            if (std::isnan(score[i])) score[i] = -std::numeric_limits<float>::infinity();  // broken weights
        auto& scratch = scratch_[static_cast<std::size_t>(thread)].values;
        auto* order = reinterpret_cast<std::int32_t*>(scratch.reserve(static_cast<std::size_t>(visible)));
        std::iota(order, order + visible, 0);
        std::nth_element(order, order + c.top_k - 1, order + visible, [&](std::int32_t a, std::int32_t b) {
            return score[a] != score[b] ? score[a] > score[b] : a < b;
        });
        std::sort(order, order + c.top_k);
        std::copy_n(order, c.top_k, c.selected + r * c.top_k);
    });
}

void CpuBackend::attend(std::span<const AttendCall> calls) {
    for (const auto& c : calls) {
        int d = c.format.size;
        // Few rows are divided by heads, too. Each part decodes the keys again, which is little beside using them.
        int head_block = c.rows < 2 * pool_.size() ? (c.heads + pool_.size() - 1) / pool_.size() : c.heads;
        int parts = (c.heads + head_block - 1) / head_block;
        std::int64_t keys_last = c.window_size + visible_rows(c, c.rows - 1).count;
        float scale = 1.0f / std::sqrt(static_cast<float>(d));
        each(std::int64_t(c.rows) * parts, c.rows * keys_last * c.heads * d,
             [&](std::int64_t item, int thread) {
                 auto r = static_cast<int>(item / parts);
                 int head = static_cast<int>(item % parts) * head_block,
                     heads = std::min(head_block, c.heads - head);
                 std::int64_t position = c.start + r, at = (std::int64_t(r) * c.heads + head) * d;
                 const float* q = c.q + at;
                 float* out = c.out + at;

                 auto& scratch = scratch_[static_cast<std::size_t>(thread)];
                 float* keys = scratch.keys.reserve(static_cast<std::size_t>(kKeyTile * d));
                 float* scores = scratch.scores.reserve(static_cast<std::size_t>(heads * kKeyTile));
                 float* largest = scratch.values.reserve(static_cast<std::size_t>(3 * heads));
                 float *sum = largest + heads, *rescale = sum + heads;
                 for (int h = 0; h < heads; ++h) {
                     largest[h] = std::max(c.sinks[head + h], -1e30f);
                     sum[h] = std::exp(c.sinks[head + h] - largest[h]);
                 }
                 std::fill_n(out, std::int64_t(heads) * d, 0.0f);

                 std::int64_t oldest = std::max<std::int64_t>(0, position - c.window_size + 1);
                 std::int64_t in_window = position - oldest + 1;
                 Visible compressed = visible_rows(c, r);
                 std::int64_t total = in_window + compressed.count;
                 for (std::int64_t first = 0; first < total; first += kKeyTile) {
                     auto count = static_cast<int>(std::min<std::int64_t>(kKeyTile, total - first));
                     for (int i = 0; i < count; ++i) {
                         std::int64_t key = first + i;
                         const std::byte* row = key < in_window
                                                    ? c.window.row(oldest + key)
                                                    : c.compressed.row(compressed[key - in_window]);
                         kernels_.decode_row(c.format, row, keys + i * d);
                     }
                     kernels_.scores(q, heads, keys, count, d, scale, scores);
                     for (int h = 0; h < heads; ++h) {
                         float* p = scores + h * count;
                         float high = std::max(largest[h], *std::max_element(p, p + count));
                         rescale[h] = std::exp(largest[h] - high);
                         largest[h] = high;
                         sum[h] = sum[h] * rescale[h] + kernels_.exp_sum(p, high, count);
                     }
                     kernels_.accumulate(out, rescale, scores, heads, keys, count, d);
                 }
                 for (int h = 0; h < heads; ++h) {
                     float inverse = 1.0f / sum[h];
                     for (int i = 0; i < d; ++i) out[h * d + i] *= inverse;
                     reference::rotate(out + h * d, d, c.rotary.cosine + r * c.rotary.half,
                                       c.rotary.sine + r * c.rotary.half, c.rotary.half, true);
                 }
             });
    }
}

}  // namespace cachalot::cpu
