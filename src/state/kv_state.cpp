#include "state/kv_state.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

// Visits the runs of bytes in a slab that a continuation at `length` reaches, in the order of
// KvCheckpoint::rings: use(offset in the slab, bytes).
template <class Use>
void each_needed_run(std::span<const LayerLayout> layers, std::int64_t length, const Use& use) {
    for (const auto& layer : layers)
        layer.each_ring(length,
                        [&](const RowRing& ring, std::int64_t first) { ring.each_run(first, length, use); });
}

void write_number(std::byte*& to, std::int64_t number) {
    std::memcpy(to, &number, sizeof number);
    to += sizeof number;
}

std::int64_t read_number(const std::byte*& from) {
    std::int64_t number;
    std::memcpy(&number, from, sizeof number);
    from += sizeof number;
    return number;
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
    draft_begin_ = std::min(draft_begin_, length);
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
    saved.rings.resize(static_cast<std::size_t>(layout().rings_bytes(length)));
    Stream& stream = pages_.pool()->stream();
    const std::byte* slab = slab_.address();
    std::byte* to = saved.rings.data();
    const auto copy = [&](std::int64_t offset, std::int64_t size) {
        stream.copy(to, slab + offset, static_cast<std::size_t>(size));
        to += size;
    };
    each_needed_run(layout().layers(), length, copy);
    if (layout().context_end_bytes()) write_number(to, std::min(context_end_, length));
    if (layout().drafts()) {
        each_needed_run(layout().draft_stages(), length, copy);
        write_number(to, std::min(draft_begin_, length));
    }
    stream.synchronize();
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
    const auto copy = [&](std::int64_t offset, std::int64_t size) {
        stream.copy(slab + offset, from, static_cast<std::size_t>(size));
        from += size;
    };
    const auto known = [&](std::int64_t number) { return std::clamp<std::int64_t>(number, 0, length_); };
    CACHALOT_CHECK(layout().are_rings(static_cast<std::int64_t>(saved.rings.size()), length_));
    each_needed_run(layout().layers(), length_, copy);
    context_end_ = layout().context_end_bytes() ? known(read_number(from)) : 0;  // it may come from a file
    draft_begin_ = length_;
    if (static_cast<std::int64_t>(saved.rings.size()) == layout().rings_bytes(length_) && layout().drafts()) {
        each_needed_run(layout().draft_stages(), length_, copy);
        draft_begin_ = known(read_number(from));
    }
    stream.synchronize();
}

std::int64_t KvCheckpoint::bytes_beyond(const KvCheckpoint* prefix) const {
    // A last page of the prefix that was not full was copied.
    const auto shared = prefix ? prefix->length / KvLayout::kPageTokens : 0;
    return static_cast<std::int64_t>(rings.size()) + (pages.size() - shared) * layout().page_bytes();
}

}  // namespace cachalot
