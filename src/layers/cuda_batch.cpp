#include "layers/cuda_batch.h"

#include <algorithm>
#include <cstring>

namespace cachalot {
namespace {

// Takes `count` elements from where `end` is, and returns their offset.
template <class T>
std::size_t place(std::size_t& end, std::size_t count) {
    constexpr std::size_t kLine = 64;
    const std::size_t offset = end;
    end += (count * sizeof(T) + kLine - 1) / kLine * kLine;
    return offset;
}

}  // namespace

bool CudaBatch::make_room(std::size_t rows, std::size_t sequences, std::size_t pages) {
    if (rows <= rows_ && sequences <= sequences_ && pages <= pages_) return false;
    // Twice as much as is needed, so that it happens seldom.
    rows_ = std::max(rows_, std::max<std::size_t>(64, 2 * rows));
    sequences_ = std::max(sequences_, std::max<std::size_t>(64, 2 * sequences));
    pages_ = std::max(pages_, std::max<std::size_t>(1024, 2 * pages));
    std::size_t end = 0;
    const auto tokens = place<std::int32_t>(end, rows_), positions = place<std::int64_t>(end, rows_),
               sequence = place<std::int32_t>(end, rows_), wanted = place<std::int32_t>(end, rows_),
               of_sequences = place<cuda::Sequence>(end, sequences_);
    bytes_ = end;
    const auto list = place<std::byte*>(end, pages_);
    here_.reserve(end);
    std::byte* base = there_.reserve(end);
    view_.tokens = reinterpret_cast<const std::int32_t*>(base + tokens);
    view_.positions = reinterpret_cast<const std::int64_t*>(base + positions);
    view_.sequence = reinterpret_cast<const std::int32_t*>(base + sequence);
    view_.wanted = reinterpret_cast<const std::int32_t*>(base + wanted);
    view_.sequences = reinterpret_cast<const cuda::Sequence*>(base + of_sequences);
    page_list_ = reinterpret_cast<std::byte**>(base + list);
    return true;
}

bool CudaBatch::load(const Batch& batch, Stream& stream, std::byte* scratch_memory, std::int64_t scratch) {
    std::size_t pages = 0;
    for (const BatchRows& s : batch.sequences()) pages += static_cast<std::size_t>(s.state->pages().size());
    const bool moved = make_room(static_cast<std::size_t>(batch.rows()), batch.sequences().size(), pages);
    // What lies at `there` on the card lies here before it is sent.
    const auto here = [&]<class T>(const T* there) {
        return reinterpret_cast<T*>(here_.address() +
                                    (reinterpret_cast<const std::byte*>(there) - there_.address()));
    };
    std::ranges::copy(batch.tokens(), here(view_.tokens));
    std::ranges::copy(batch.positions(), here(view_.positions));
    std::ranges::copy(batch.wanted(), here(view_.wanted));
    deepest_ = 0;
    only_decodes_ = batch.wanted().size() == static_cast<std::size_t>(batch.rows());
    view_.longest = 0;
    std::byte** list = page_list_;
    for (int i = 0; const BatchRows& s : batch.sequences()) {
        const KvPages& own = s.state->pages();
        std::copy_n(own.addresses(), own.size(), here(list));
        std::fill_n(here(view_.sequence) + s.first, s.count, i);
        here(view_.sequences)[i] = {s.start, s.first,
                                    s.count, s.state->slab().address(),
                                    list,    scratch ? scratch_memory + i * scratch : nullptr};
        list += own.size();
        deepest_ = std::max(deepest_, s.start + s.count);
        view_.longest = std::max(view_.longest, s.count);
        only_decodes_ = only_decodes_ && s.count == 1;
        ++i;
    }
    view_.rows = batch.rows();
    view_.wanted_rows = static_cast<int>(batch.wanted().size());
    view_.sequence_count = static_cast<int>(batch.sequences().size());
    stream.copy(there_.address(), here_.address(), bytes_ + pages * sizeof(std::byte*));
    return moved;
}

}  // namespace cachalot
