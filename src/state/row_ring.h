// The last rows of something that grows by one row a token, addressed by absolute position.
//
// A query at position p needs the rows p-keep .. p. The ring holds kRollback more, so that up to kRollback tokens can
// be taken back and the rows in front of them are still there.
//
// A chunk of many new rows does not fit beside the old ones. It is computed in a scratch ring that is large enough
// (`open` copies the old rows that it needs), and `close` brings its last rows home. Short chunks write in place.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/aligned.h"
#include "kernels/views.h"
#include "state/memory_count.h"

namespace cachalot {

// Tokens that can be taken back from a sequence without recomputation; more than any draft is long.
inline constexpr std::int64_t kRollback = 64;

class RowRing {
  public:
    RowRing() = default;
    RowRing(std::int64_t keep, std::int64_t row_bytes, const CountedAllocator<std::byte>& allocator = {})
        : keep_(keep),
          row_bytes_(row_bytes),
          capacity_(keep + 1 + kRollback),
          rows_(static_cast<std::size_t>(capacity_ * row_bytes), allocator) {}

    // A view in which rows start-keep .. start+count-1 have room and those before `start` are filled.
    RingView open(std::int64_t start, std::int64_t count, AlignedBuffer<std::byte>& scratch) {
        if (count <= capacity_ - keep_) return view();
        RingView large{nullptr, keep_ + count, row_bytes_};
        large.data = scratch.reserve(static_cast<std::size_t>(large.capacity * row_bytes_));
        copy(view(), large, std::max<std::int64_t>(0, start - keep_), start);
        return large;
    }

    // Takes over the rows of a view that `open` returned.
    void close(const RingView& opened, std::int64_t start, std::int64_t count) {
        if (opened.data != rows_.data())
            copy(opened, view(), start + std::max<std::int64_t>(0, count - capacity_), start + count);
    }

    // Appends the rows that positions >= length need, oldest first: those from `first` to length - 1.
    void save(std::int64_t first, std::int64_t length, CountedBytes& out) const {
        for (auto p = first; p < length; ++p) {
            const std::byte* row = rows_.data() + p % capacity_ * row_bytes_;
            out.insert(out.end(), row, row + row_bytes_);
        }
    }
    // The reverse; returns the bytes that follow.
    const std::byte* load(std::int64_t first, std::int64_t length, const std::byte* in) {
        for (auto p = first; p < length; ++p, in += row_bytes_)
            std::memcpy(rows_.data() + p % capacity_ * row_bytes_, in, static_cast<std::size_t>(row_bytes_));
        return in;
    }

    std::int64_t keep() const { return keep_; }
    std::int64_t row_bytes() const { return row_bytes_; }
    std::int64_t bytes() const { return capacity_ * row_bytes_; }

  private:
    RingView view() { return {rows_.data(), capacity_, row_bytes_}; }

    static void copy(const RingView& from, const RingView& to, std::int64_t first, std::int64_t last) {
        for (auto p = first; p < last; ++p)
            std::memcpy(to.row(p), from.row(p), static_cast<std::size_t>(from.row_bytes));
    }

    std::int64_t keep_ = 0, row_bytes_ = 0, capacity_ = 0;
    CountedBytes rows_;
};

}  // namespace cachalot
