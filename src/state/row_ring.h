// The last rows of something that grows by one row a token, addressed by absolute position, inside a slab.
//
// A query at position p needs the rows p-keep .. p. The ring holds kRollback more, so that up to kRollback
// tokens can be taken back and the rows in front of them are still there.
//
// A chunk of many new rows does not fit beside the old ones. It is computed in a scratch ring that is large
// enough (`open` copies the old rows that it needs), and `close` brings its last rows home. Short chunks
// write in place.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/views.h"

namespace cachalot {

// Tokens that can be taken back from a sequence without recomputation; more than any draft is long.
inline constexpr std::int64_t kRollback = 64;

// Where a ring lies in a slab, and the rows that it has.
struct RowRing {
    std::int64_t offset = 0;     // in the slab, bytes
    std::int64_t row_bytes = 0;  // 0: there is no ring
    std::int64_t keep = 0;       // rows that a query needs besides its own
    std::int64_t ahead = 0;      // rows of drafted tokens, written for a moment behind that of the newest one

    std::int64_t capacity() const { return keep + 1 + kRollback + ahead; }  // rows
    std::int64_t bytes() const { return capacity() * row_bytes; }
    RingView view(std::byte* slab) const { return {slab + offset, capacity(), row_bytes}; }

    // Rows of the scratch ring that `count` new rows from `start` on need; 0: they are written in place.
    std::int64_t scratch_rows(std::int64_t count) const {
        return count <= capacity() - keep ? 0 : keep + count;
    }

    // A view in which rows start-keep .. start+count-1 have room and those before `start` are filled.
    // `scratch` has scratch_rows(count). To be called where the slab may be read.
    RingView open(std::byte* slab, std::int64_t start, std::int64_t count, std::byte* scratch) const {
        const auto rows = scratch_rows(count);
        if (rows == 0) return view(slab);
        const RingView large{scratch, rows, row_bytes};
        copy(view(slab), large, std::max<std::int64_t>(0, start - keep), start);
        return large;
    }

    // Takes over the rows of a view that `open` returned.
    void close(std::byte* slab, const RingView& opened, std::int64_t start, std::int64_t count) const {
        if (scratch_rows(count) > 0)
            copy(opened, view(slab), start + std::max<std::int64_t>(0, count - capacity()), start + count);
    }

    // Visits rows [first, last), at most as many as there are, in runs that lie together:
    // use(offset in the slab, bytes).
    template <class Use>
    void each_run(std::int64_t first, std::int64_t last, const Use& use) const {
        while (first < last) {
            const auto slot = first % capacity(), rows = std::min(last - first, capacity() - slot);
            use(offset + slot * row_bytes, rows * row_bytes);
            first += rows;
        }
    }

    bool operator==(const RowRing&) const = default;

  private:
    static void copy(const RingView& from, const RingView& to, std::int64_t first, std::int64_t last) {
        for (auto p = first; p < last; ++p)
            std::memcpy(to.row(p), from.row(p), static_cast<std::size_t>(from.row_bytes));
    }
};

}  // namespace cachalot
