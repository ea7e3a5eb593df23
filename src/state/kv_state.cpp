#include "state/kv_state.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

// Visits the runs of bytes in a slab that a continuation at `length` reaches, in the order of
// KvCheckpoint::rings: use(offset in the slab, bytes).
template <class Use>
void each_needed_run(const KvLayout& layout, std::int64_t length, const Use& use) {
    for (const auto& layer : layout.layers())
        layer.each_ring(length,
                        [&](const RowRing& ring, std::int64_t first) { ring.each_run(first, length, use); });
}

}  // namespace

KvState::KvState(std::shared_ptr<KvPool> pool) : pages_(pool), slab_(pages_.pool()) {}

void KvState::extend(std::int64_t count) {
    pages_.truncate(KvLayout::pages_for(length_));  // a pass that failed leaves more
    pages_.extend(length_, length_ + count, pages_.pool()->stream());
    floor_ = std::max(floor_, length_ + count - kRollback);  // the rings are overwritten from now on
}

void KvState::advance(std::span<const std::int32_t> tokens, bool context) {
    length_ += static_cast<std::int64_t>(tokens.size());
    if (context) context_end_ = length_;
    recent_.append(tokens);
}

void KvState::check_kept(std::int64_t length) const {
    if (length > length_ || length < floor_)
        fail("cannot go back from {} to {} tokens: only the last {} can be taken back", length_, length,
             length_ - floor_);
}

void KvState::rollback(std::int64_t length) {
    check_kept(length);
    recent_.drop(static_cast<std::size_t>(length_ - length));
    length_ = length;
    context_end_ = std::min(context_end_, length);
    pages_.truncate(KvLayout::pages_for(length));
}

KvCheckpoint KvState::checkpoint() const { return checkpoint(length_); }

KvCheckpoint KvState::checkpoint(std::int64_t length) const {
    check_kept(length);
    KvCheckpoint saved(pages_.pool());
    saved.length = length;
    saved.recent = recent_;
    saved.recent.drop(static_cast<std::size_t>(length_ - length));
    saved.recent.trim(RecentTokens::kKept);
    saved.pages = pages_;
    saved.pages.truncate(KvLayout::pages_for(length));
    const std::int64_t context_end = std::min(context_end_, length);
    std::int64_t bytes = layout().context_end_bytes();
    each_needed_run(layout(), length, [&](std::int64_t, std::int64_t size) { bytes += size; });
    saved.rings.resize(static_cast<std::size_t>(bytes));
    Stream& stream = pages_.pool()->stream();
    const std::byte* slab = slab_.address();
    std::byte* to = saved.rings.data();
    each_needed_run(layout(), length, [&](std::int64_t offset, std::int64_t size) {
        stream.copy(to, slab + offset, static_cast<std::size_t>(size));
        to += size;
    });
    stream.synchronize();
    if (layout().context_end_bytes()) std::memcpy(to, &context_end, sizeof context_end);
    return saved;
}

void KvState::restore(const KvCheckpoint& saved) {
    if (saved.pages.pool() != pages_.pool() && saved.layout() != layout())
        fail("the checkpoint belongs to another model or to another precision of the KV cache");
    if (saved.pages.pool() != pages_.pool()) fail("the checkpoint lies in the memory of another engine");
    pages_ = saved.pages;
    recent_ = saved.recent;
    length_ = floor_ = saved.length;
    Stream& stream = pages_.pool()->stream();
    std::byte* slab = slab_.address();
    const std::byte* from = saved.rings.data();
    each_needed_run(layout(), saved.length, [&](std::int64_t offset, std::int64_t size) {
        stream.copy(slab + offset, from, static_cast<std::size_t>(size));
        from += size;
    });
    const std::int64_t beyond = layout().context_end_bytes();
    CACHALOT_CHECK(from + beyond == saved.rings.data() + saved.rings.size());
    stream.synchronize();
    context_end_ = 0;
    if (beyond) std::memcpy(&context_end_, from, sizeof context_end_);
    context_end_ = std::clamp<std::int64_t>(context_end_, 0, length_);  // it may come from a file
}

std::int64_t KvCheckpoint::bytes_beyond(const KvCheckpoint* prefix) const {
    // A last page of the prefix that was not full was copied.
    const auto shared = prefix ? prefix->length / KvLayout::kPageTokens : 0;
    return static_cast<std::int64_t>(rings.size()) + (pages.size() - shared) * layout().page_bytes();
}

}  // namespace cachalot
