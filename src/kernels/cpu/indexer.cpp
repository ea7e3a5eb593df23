// The indexer on the CPU. It alone looks at every compressed row, at a cost of heads x 128 multiply-adds a
// row. A page of its keys is a matrix in a format that the products know (fp4_pairs), and the queries,
// rounded to FP4 as well, are rows of activations: the products are those of weights, by integers, and exact.
// Twice an E2M1 value is an integer, and what is left are powers of two.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/cpu/cpu_primitives.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"
#include "tensor/float_formats.h"

namespace cachalot::cpu {
namespace {

constexpr std::int64_t kIndexScratch = std::int64_t(1) << 22;  // floats of scores held at once: 16 MiB
constexpr int kIndexRows = 256;  // rows (heads of queries) that are multiplied by a page of keys at once

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

// Floats as integers of the same order; there is no NaN.
std::uint32_t sortable(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x + 0.0f);  // -0 is 0
    return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

// The `most` of row(0) < .. < row(count - 1) with the best scores, ascending; of equal ones the lower. The
// lowest score that is chosen is found digit by digit, since comparisons of scores are mispredicted.
template <class Row>
void choose(const float* score, const Row& row, std::int64_t count, int most, std::int32_t* chosen) {
    constexpr int kDigits = 3, kBits = 11;  // 33 bits
    CACHALOT_CHECK(count >= most);
    std::uint32_t lowest = 0, known = 0;  // of the score, and which of its bits
    std::int64_t left = most;             // to be chosen among scores with those bits
    for (int digit = kDigits - 1; digit >= 0; --digit) {
        const int shift = digit * kBits;
        std::int32_t times[1 << kBits] = {};
        for (std::int64_t i = 0; i < count; ++i)
            if (const auto s = sortable(score[row(i)]); (s & known) == lowest)
                ++times[s >> shift & ((1 << kBits) - 1)];
        std::uint32_t value = (1 << kBits) - 1;
        for (; times[value] < left; --value) left -= times[value];
        lowest |= value << shift;
        known |= std::uint32_t((1 << kBits) - 1) << shift;
    }
    for (std::int64_t i = 0, n = 0; n < most; ++i) {
        const auto s = sortable(score[row(i)]);
        const bool equal = s == lowest && left > 0;
        chosen[n] = static_cast<std::int32_t>(row(i));
        left -= equal;
        n += s > lowest || equal;
    }
}

// Writes the rows of the blocks that are visible; returns how many.
std::int64_t rows_of(const Candidates& c, const std::int32_t* blocks, std::int64_t visible,
                     std::int32_t* rows) {
    std::int64_t count = 0;
    for (int b = 0; b < c.most; ++b) {
        const std::int64_t first = std::int64_t(blocks[b]) * c.block_size;
        for (auto j = first; j < std::min(first + c.block_size, visible); ++j)
            rows[count++] = static_cast<std::int32_t>(j);
    }
    return count;
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

void CpuPrimitives::choose_blocks(const Candidates& c, const float* score, std::int64_t visible,
                                  std::int32_t* blocks, ThreadScratch& scratch) {
    const std::int64_t count = (visible + c.block_size - 1) / c.block_size;
    float* best = scratch.scores.reserve(static_cast<std::size_t>(count));
    for (std::int64_t b = 0; b < count; ++b) {
        const float* first = score + b * c.block_size;
        best[b] = *std::max_element(first, std::min(first + c.block_size, score + visible));
    }
    best[count - 1] = std::numeric_limits<float>::infinity();
    choose(
        best, [](std::int64_t i) { return i; }, count, c.most, blocks);
}

void CpuPrimitives::index(std::span<const IndexCall> calls) {
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
            if (c.candidates.blocks) part.candidates.blocks += std::int64_t(r) * c.candidates.most;
            index_one(part);
        }
    }
}

void CpuPrimitives::index_one(const IndexCall& c) {
    const int n = c.format.size;
    CACHALOT_CHECK(c.format.kind == RowFormat::Kind::fp4_key || c.format.kind == RowFormat::Kind::f32);
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
            if (c.hadamard) hadamard(q, n);
            if (!fp4) continue;
            encode_row(c.format, q, bytes);
            quantize_fp4(bytes, n, quantized + h, query_rows);
        }
    });
    const Activations queries{c.q, n, quantized, query_rows};
    const std::int64_t most = (c.start + c.rows) / c.ratio;  // visible to the last row
    float* scores = index_scores_.reserve(static_cast<std::size_t>(c.rows * most));
    const std::int64_t pages = PagedView::page_of(most - 1, c.ratio) + 1;
    auto score_page = [&](std::int64_t p, int thread) {
        const std::int64_t first = PagedView::first_of(p, c.ratio);
        const std::int64_t count = std::min(PagedView::first_of(p + 1, c.ratio), most) - first;
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
    };
    // A page takes few queries a microsecond, and claiming an item a tenth of that.
    constexpr std::int64_t kEnoughWork = 1'000'000;
    const std::int64_t work = query_rows * most * n,
                       parts = std::clamp(work / kEnoughWork, std::min<std::int64_t>(pages, 4 * pool_.size()),
                                          pages);
    each(parts, work, [&](std::int64_t i, int thread) {
        for (auto p = i * pages / parts; p < (i + 1) * pages / parts; ++p) score_page(p, thread);
    });
    each(c.rows, c.rows * most * 4, [&](std::int64_t r, int thread) {
        std::int64_t visible = (c.start + r + 1) / c.ratio;
        float* score = scores + r * most;
        for (std::int64_t i = 0; i < visible; ++i)
            if (std::isnan(score[i])) score[i] = -std::numeric_limits<float>::infinity();  // broken weights
        std::int32_t* chosen = c.selected + r * c.top_k;
        ThreadScratch& scratch = scratch_[static_cast<std::size_t>(thread)];
        if (c.candidates.restrict(visible)) {
            std::int32_t* blocks = c.candidates.blocks + r * c.candidates.most;
            if (!c.make_candidates) {
                auto* rows = reinterpret_cast<std::int32_t*>(scratch.values.reserve(
                    static_cast<std::size_t>(c.candidates.most) * c.candidates.block_size));
                const auto count = rows_of(c.candidates, blocks, visible, rows);
                return choose(
                    score, [rows](std::int64_t i) { return rows[i]; }, count, c.top_k, chosen);
            }
            choose_blocks(c.candidates, score, visible, blocks, scratch);
        }
        choose(
            score, [](std::int64_t i) { return i; }, visible, c.top_k, chosen);
    });
}

}  // namespace cachalot::cpu
