#include "layers/batch_mirror.h"

#include <algorithm>

namespace cachalot {
namespace {

template <class T>
void send(std::span<const T> from, Buffer<T>& to, Stream& stream) {
    stream.copy(reinterpret_cast<std::byte*>(to.reserve(from.size())),
                reinterpret_cast<const std::byte*>(from.data()), from.size_bytes());
}

}  // namespace

void BatchMirror::load(const Batch& batch, Stream& stream) {
    rows_ = all_rows_ = batch.rows();
    context_rows_ = batch.context_rows();
    context_left_ = false;
    wanted_rows_ = batch.wanted().size();
    here_.clear();
    page_list_.clear();
    for (const BatchRows& s : batch.sequences()) {
        const KvPages& pages = s.state->pages();
        page_list_.insert(page_list_.end(), pages.addresses(), pages.addresses() + pages.size());
    }
    std::byte* const* pages = pages_.reserve(page_list_.size());
    for (const BatchRows& s : batch.sequences()) {
        const bool behind_context = s.ahead > 0 && s.kind != RowsKind::draft;
        here_.push_back({s.start, behind_context ? s.start : s.state->context_end(),
                         behind_context ? s.start : s.state->draft_begin(), s.first, s.count,
                         behind_context ? s.ahead : 0, s.context_of, s.state->slab().address(), pages});
        pages += s.state->pages().size();
    }
    sequences_left_ = here_.size();
    sequences_beyond_context_ = static_cast<std::size_t>(
        std::ranges::count_if(batch.sequences(), [](const BatchRows& s) { return !s.context; }));
    send(batch.tokens(), tokens_, stream);
    send(batch.positions(), positions_, stream);
    send(batch.wanted(), wanted_, stream);
    send(std::span<std::byte* const>(page_list_), pages_, stream);
    send(std::span<const SequenceRows>(here_), sequences_, stream);
}

}  // namespace cachalot
