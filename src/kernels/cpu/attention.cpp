// The attention side on the CPU: latent keys, compressor, indexer, sparse attention.
//
// Attention of one query reads at most window + top_k rows (CSA) or window + t/128 rows (HCA), decodes them 32 at a
// time into a tile that stays in the first two cache levels, and uses the tile for all its heads; where heads are few,
// for neighbouring queries, too, which see nearly the same keys. The softmax is taken online: each head keeps the largest
// score so far, the sum and the weighted values, and rescales both when a tile brings a larger score. The sink is where
// the running maximum starts, as a key whose value is zero. Tiles and their order depend on the position only.
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
constexpr int kQueries =
    64;  // heads of queries for which keys are decoded together, if there are enough rows
constexpr std::int64_t kIndexScratch = std::int64_t(1) << 22;  // floats of scores held at once: 16 MiB
constexpr int kIndexRows = 256;  // rows (heads of queries) that are multiplied by a page of keys at once

// Pools one compressed row: per channel, softmax over the rows' scores. Channel c of row s of the previous group is
// column c, of this group column n + c (overlap) or c.
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
            pool(kernels_, c, first + i, x);
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

// Attention of some heads of some neighbouring queries.
class CpuBackend::Attention {
  public:
    Attention(const Table& kernels, ThreadScratch& scratch, const AttendCall& call, int row, int rows,
              int head, int heads)
        : kernels_(kernels), c_(call), row_(row), rows_(rows), head_(head), heads_(heads) {
        const int d = c_.format.size;
        keys_ = scratch.keys.reserve(static_cast<std::size_t>(kKeyTile * d));
        scores_ = scratch.scores.reserve(static_cast<std::size_t>(heads_ * kKeyTile));
        largest_ = scratch.values.reserve(static_cast<std::size_t>((2 * rows_ + 1) * heads_));
        sum_ = largest_ + rows_ * heads_;
        rescale_ = sum_ + rows_ * heads_;
        for (int r = 0; r < rows_; ++r) {
            for (int h = 0; h < heads_; ++h) {
                const float sink = c_.sinks[head_ + h], high = std::max(sink, -1e30f);
                largest_[r * heads_ + h] = high;
                sum_[r * heads_ + h] = std::exp(sink - high);
            }
            std::fill_n(out(r), std::int64_t(heads_) * d, 0.0f);
        }
    }

    void run() {
        attend_window();
        attend_compressed();
        finish();
    }

  private:
    std::int64_t position(int r) const { return c_.start + row_ + r; }
    std::int64_t oldest(int r) const { return std::max<std::int64_t>(0, position(r) - c_.window_size + 1); }
    std::int64_t place(int r) const { return (std::int64_t(row_ + r) * c_.heads + head_) * c_.format.size; }
    float* out(int r) const { return c_.out + place(r); }

    // Decodes keys [first, last), given by row(i), and uses each for the queries that see it: [begin(r), end(r)).
    template <class Row, class Begin, class End>
    void use(std::int64_t first, std::int64_t last, const Row& row, const Begin& begin, const End& end) {
        const int d = c_.format.size;
        for (std::int64_t i = first; i < last; ++i)
            kernels_.decode_row(c_.format, row(i), keys_ + (i - first) * d);
        for (int r = 0; r < rows_; ++r) {
            const std::int64_t from = std::max(first, begin(r)), to = std::min(last, end(r));
            if (from >= to) continue;
            const float* keys = keys_ + (from - first) * d;
            const auto count = static_cast<int>(to - from);
            kernels_.scores(c_.q + place(r), heads_, keys, count, d, scale_, scores_);
            kernels_.softmax_step(scores_, heads_, count, largest_ + r * heads_, sum_ + r * heads_, rescale_);
            kernels_.accumulate(out(r), rescale_, scores_, heads_, keys, count, d);
        }
    }
    // Tiles begin at multiples of their size, wherever a query's window begins.
    template <class Row, class Begin, class End>
    void use_tiles(std::int64_t first, std::int64_t last, const Row& row, const Begin& begin,
                   const End& end) {
        for (std::int64_t next; first < last; first = next) {
            next = std::min(last, (first / kKeyTile + 1) * kKeyTile);
            use(first, next, row, begin, end);
        }
    }

    void attend_window() {
        use_tiles(
            oldest(0), position(rows_ - 1) + 1, [&](std::int64_t i) { return c_.window.row(i); },
            [&](int r) { return oldest(r); }, [&](int r) { return position(r) + 1; });
    }
    void attend_compressed() {
        const Visible all = visible_rows(c_, row_ + rows_ - 1);
        if (!all.selected)
            return use_tiles(
                0, all.count, [&](std::int64_t i) { return c_.compressed.row(i); },
                [](int) { return std::int64_t(0); }, [&](int r) { return visible_rows(c_, row_ + r).count; });
        for (int one = 0; one < rows_; ++one) {  // each has rows of its own
            const Visible visible = visible_rows(c_, row_ + one);
            use_tiles(
                0, visible.count, [&](std::int64_t i) { return c_.compressed.row(visible[i]); },
                [](int) { return std::int64_t(0); },
                [&](int r) { return r == one ? visible.count : std::int64_t(0); });
        }
    }
    void finish() {
        const int d = c_.format.size, half = c_.rotary.half;
        for (int r = 0; r < rows_; ++r)
            for (int h = 0; h < heads_; ++h) {
                float* head = out(r) + h * d;
                const float inverse = 1.0f / sum_[r * heads_ + h];
                for (int i = 0; i < d; ++i) head[i] *= inverse;
                reference::rotate(head, d, c_.rotary.cosine + (row_ + r) * half,
                                  c_.rotary.sine + (row_ + r) * half, half, true);
            }
    }

    const Table& kernels_;
    const AttendCall& c_;
    const int row_, rows_, head_, heads_;
    const float scale_ = 1.0f / std::sqrt(static_cast<float>(c_.format.size));
    float *keys_, *scores_;             // [kKeyTile, d], [heads, kKeyTile]
    float *largest_, *sum_, *rescale_;  // [rows, heads] each, [heads]
};

void CpuBackend::attend(std::span<const AttendCall> calls) {
    for (const auto& c : calls) {
        // Few rows are divided by heads, too, and of few heads several rows are taken together: each part decodes the keys
        // again, which is little beside using them for many queries.
        const int head_block =
            c.rows < 2 * pool_.size() ? (c.heads + pool_.size() - 1) / pool_.size() : c.heads;
        const int row_block = c.rows < 8 * pool_.size() ? 1 : std::clamp(kQueries / c.heads, 1, 16);
        const int parts = (c.heads + head_block - 1) / head_block;
        const std::int64_t keys = c.window_size + visible_rows(c, c.rows - 1).count;
        const std::int64_t blocks = (c.rows + row_block - 1) / row_block;
        each(blocks * parts, c.rows * keys * c.heads * c.format.size, [&](std::int64_t item, int thread) {
            const auto row = static_cast<int>(item / parts) * row_block,
                       head = static_cast<int>(item % parts) * head_block;
            Attention(kernels_, scratch_[static_cast<std::size_t>(thread)], c, row,
                      std::min(row_block, c.rows - row), head, std::min(head_block, c.heads - head))
                .run();
        });
    }
}

}  // namespace cachalot::cpu
