// The keys that a row attends to, in their order: the window's, oldest first, then compressed rows.
#pragma once

#include "kernels/cuda/attend.h"

namespace cachalot::cuda {

struct Keys {
    const AttendCall& call;
    RingView window;
    PagedView compressed;
    const std::int32_t* selected = nullptr;  // null: all
    std::int64_t oldest;                     // position of the first in the window
    std::int64_t windows, count;             // in the window, in all

    __device__ Keys(const AttendCall& c, std::int64_t row) : call(c) {
        const std::int64_t position = c.batch.positions[row];
        const Sequence& s = c.batch.sequences[c.batch.sequence[row]];
        window = c.window.view(s);
        oldest = max(std::int64_t(0), position - c.window_size + 1);
        windows = position + 1 - oldest;
        count = windows;
        if (c.ratio == 0) return;
        compressed = c.compressed.view(s);
        const std::int64_t visible = (position + 1) / c.ratio;
        const bool chosen = c.selected && visible > c.top_k;
        if (chosen) selected = c.selected + row * c.top_k;
        count += chosen ? c.top_k : visible;
    }
    __device__ const std::byte* row(std::int64_t key) const {
        if (key < windows) return window.row(oldest + key);
        const std::int64_t at = key - windows;
        return compressed.row(selected ? selected[at] : at);
    }
    __device__ const RowFormat& format(std::int64_t key) const {
        return key < windows ? call.window_format : call.compressed_format;
    }
};

}  // namespace cachalot::cuda
