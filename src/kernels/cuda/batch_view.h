// What kernels know of a pass: the addresses of arrays in the card's memory, which stay the same from pass to
// pass, so that a graph that was recorded once finds other tokens of other sequences there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/views.h"

namespace cachalot::cuda {

// The rows of one sequence, and where its state lies.
struct Sequence {
    std::int64_t start = 0;  // position of its first row
    std::int32_t first = 0;  // row of the pass
    std::int32_t count = 0;
    std::byte* slab = nullptr;
    std::byte* const* pages = nullptr;
    std::byte* scratch = nullptr;  // of rings that the rows do not fit into; see RingPlace
};

struct BatchView {
    const std::int32_t* tokens = nullptr;     // [rows]
    const std::int64_t* positions = nullptr;  // [rows]
    const std::int32_t* sequence = nullptr;   // [rows] index into sequences
    const std::int32_t* wanted = nullptr;     // [wanted rows]
    const Sequence* sequences = nullptr;
    int rows = 0, wanted_rows = 0, sequence_count = 0;  // the host knows them as well: they shape the grids
    int longest = 0;                                    // rows of the sequence that has most
};

// A ring of a layer (state/row_ring.h). What does not fit into it beside the old rows that are still needed
// is computed in a larger one, in the sequence's scratch memory.
struct RingPlace {
    std::int64_t offset = 0;  // in the slab, bytes
    std::int64_t row_bytes = 0;
    std::int64_t keep = 0, capacity = 0;  // rows
    std::int64_t scratch = 0;             // offset in the scratch memory, bytes

    CACHALOT_BOTH std::int64_t scratch_rows(std::int64_t count) const {
        return count <= capacity - keep ? 0 : keep + count;
    }
    CACHALOT_BOTH RingView home(const Sequence& s) const { return {s.slab + offset, capacity, row_bytes}; }
    CACHALOT_BOTH RingView view(const Sequence& s) const {
        const std::int64_t rows = scratch_rows(s.count);
        return rows == 0 ? home(s) : RingView{s.scratch + scratch, rows, row_bytes};
    }
};

// Compressed rows of a layer, of any sequence.
struct PagePlace {
    int ratio = 1;
    std::int64_t row_bytes = 0;
    std::int64_t offset = 0;  // in a page

    CACHALOT_BOTH PagedView view(const Sequence& s) const { return {s.pages, ratio, row_bytes, offset}; }
};

}  // namespace cachalot::cuda
