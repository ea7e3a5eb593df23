// Sparse attention on the CPU. The work is proportional to the rows attended.
//
// Attention of one query reads at most window + top_k rows (CSA) or window + t/128 rows (HCA), decodes them
// 32 at a time into a tile that stays in the first two cache levels, and uses the tile for all its heads;
// where heads are few, for neighbouring queries, too, which see nearly the same keys. The softmax is taken
// online: each head keeps the largest score so far, the sum and the weighted values, and rescales both when a
// tile brings a larger score. The sink is where the running maximum starts, as a key whose value is zero.
// Tiles and their order depend on the position only.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_primitives.h"
#include "kernels/reference/reference.h"

namespace cachalot::cpu {
namespace {

constexpr int kKeyTile = 32;
constexpr int kQueries = 64;  // heads of neighbouring rows that use keys together, if there are rows enough

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

}  // namespace

void CpuPrimitives::query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows,
                                int heads, int head_dim) {
    each(rows, std::int64_t(rows) * heads * head_dim * 2, [&](std::int64_t r, int) {
        for (int h = 0; h < heads; ++h) {
            float* head = q + (r * heads + h) * head_dim;
            if (normalise) kernels_.rms_norm(head, nullptr, eps, head_dim);
            reference::rotate(head, head_dim, rotary.cosine + r * rotary.half, rotary.sine + r * rotary.half,
                              rotary.half, false);
        }
    });
}

// Attention of some heads of some neighbouring queries.
class CpuPrimitives::Attention {
  public:
    Attention(const Table& kernels, ThreadScratch& scratch, const AttendCall& call, int row, int rows,
              int head, int heads)
        : kernels_(kernels), c_(call), row_(row), rows_(rows), head_(head), heads_(heads) {
        const int d = c_.window_format.size;
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
    std::int64_t oldest(int r) const { return c_.oldest(row_ + r); }
    std::int64_t beyond_newest(int r) const { return c_.newest(row_ + r) + 1; }
    std::int64_t place(int r) const {
        return (std::int64_t(row_ + r) * c_.heads + head_) * c_.window_format.size;
    }
    float* out(int r) const { return c_.out + place(r); }

    // Decodes keys [first, last), given by row(i), and uses each for the queries that see it: [begin(r),
    // end(r)).
    template <class Row, class Begin, class End>
    void use(const RowFormat& format, std::int64_t first, std::int64_t last, const Row& row,
             const Begin& begin, const End& end) {
        const int d = format.size;
        for (std::int64_t i = first; i < last; ++i)
            kernels_.decode_row(format, row(i), keys_ + (i - first) * d);
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
    void use_tiles(const RowFormat& format, std::int64_t first, std::int64_t last, const Row& row,
                   const Begin& begin, const End& end) {
        for (std::int64_t next; first < last; first = next) {
            next = std::min(last, (first / kKeyTile + 1) * kKeyTile);
            use(format, first, next, row, begin, end);
        }
    }

    void attend_window() {
        use_tiles(
            c_.window_format, oldest(0), beyond_newest(rows_ - 1),
            [&](std::int64_t i) { return c_.window.row(i); }, [&](int r) { return oldest(r); },
            [&](int r) { return beyond_newest(r); });
    }
    void attend_compressed() {
        const Visible all = visible_rows(c_, row_ + rows_ - 1);
        if (!all.selected)
            return use_tiles(
                c_.compressed_format, 0, all.count, [&](std::int64_t i) { return c_.compressed.row(i); },
                [](int) { return std::int64_t(0); }, [&](int r) { return visible_rows(c_, row_ + r).count; });
        for (int one = 0; one < rows_; ++one) {  // each has rows of its own
            const Visible visible = visible_rows(c_, row_ + one);
            use_tiles(
                c_.compressed_format, 0, visible.count,
                [&](std::int64_t i) { return c_.compressed.row(visible[i]); },
                [](int) { return std::int64_t(0); },
                [&](int r) { return r == one ? visible.count : std::int64_t(0); });
        }
    }
    void finish() {
        const int d = c_.window_format.size, half = c_.rotary.half;
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
    const float scale_ = 1.0f / std::sqrt(static_cast<float>(c_.window_format.size));
    float *keys_, *scores_;             // [kKeyTile, d], [heads, kKeyTile]
    float *largest_, *sum_, *rescale_;  // [rows, heads] each, [heads]
};

// All calls are divided at once, so that threads wait for each other once. Few rows are divided by heads,
// too, and of few heads several rows are taken together: each part decodes the keys again, which is little
// beside using them for many queries.
void CpuPrimitives::attend(std::span<const AttendCall> calls) {
    struct Part {
        const AttendCall* call;
        int row, rows, head, heads;
    };
    std::vector<Part> all;
    std::int64_t work = 0;
    for (const auto& c : calls) {
        const int together = std::clamp(kQueries / c.heads, 1, 16);
        const bool few = c.rows<8 * pool_.size(), by_heads = together> 1 ? few : c.rows < 2 * pool_.size();
        const int heads = by_heads ? (c.heads + pool_.size() - 1) / pool_.size() : c.heads;
        for (int row = 0; row < c.rows; row += together)
            for (int head = 0; head < c.heads; head += heads)
                all.push_back(
                    {&c, row, std::min(together, c.rows - row), head, std::min(heads, c.heads - head)});
        const std::int64_t keys = c.window_size + visible_rows(c, c.rows - 1).count;
        work += c.rows * keys * c.heads * c.window_format.size;
    }
    each(std::ssize(all), work, [&](std::int64_t i, int thread) {
        const Part& part = all[static_cast<std::size_t>(i)];
        Attention(kernels_, scratch_[static_cast<std::size_t>(thread)], *part.call, part.row, part.rows,
                  part.head, part.heads)
            .run();
    });
}

}  // namespace cachalot::cpu
