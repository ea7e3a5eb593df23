#include "state/kv_codec.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {
namespace {

// Visits the runs of the rows of tokens [begin, end), in the order in which they are written:
// use(number of the page, offset in it, bytes).
template <class Use>
void each_run(const KvLayout& layout, std::int64_t begin, std::int64_t end, const Use& use) {
    for (const auto& layer : layout.layers())
        layer.each_compressor(
            [&](const CompressorLayout& c) { c.each_run(begin / c.ratio, end / c.ratio, use); });
}

}  // namespace

std::int64_t KvCodec::rows_bytes(std::int64_t begin, std::int64_t end) const {
    auto total = (end - begin) * std::int64_t(sizeof(std::int32_t));
    for (const auto& layer : pool_->layout().layers())
        layer.each_compressor(
            [&](const CompressorLayout& c) { total += (end / c.ratio - begin / c.ratio) * c.row_bytes; });
    return total;
}

std::int64_t KvCodec::rings_bytes(std::int64_t length) const { return pool_->layout().rings_bytes(length); }

bool KvCodec::are_rings(std::int64_t bytes, std::int64_t length) const {
    return pool_->layout().are_rings(bytes, length);
}

void KvCodec::write_rows(const KvCheckpoint& state, std::int64_t begin, std::span<const std::int32_t> tokens,
                         std::span<std::byte> out) const {
    const auto end = begin + static_cast<std::int64_t>(tokens.size());
    CACHALOT_CHECK(end <= state.length && static_cast<std::int64_t>(out.size()) == rows_bytes(begin, end));
    std::byte* to = std::ranges::copy(std::as_bytes(tokens), out.data()).out;
    auto stream = pool_->device()->make_stream();
    each_run(pool_->layout(), begin, end, [&](std::int64_t page, std::int64_t offset, std::int64_t bytes) {
        stream->copy(to, state.pages.addresses()[page] + offset, static_cast<std::size_t>(bytes));
        to += bytes;
    });
    stream->synchronize();
}

KvCheckpoint KvCodec::beginning(const KvCheckpoint* state, std::span<const std::int32_t> tokens) const {
    const auto length = static_cast<std::int64_t>(tokens.size());
    KvCheckpoint shared(pool_);
    if (!state) return shared;
    CACHALOT_CHECK(length <= state->length);
    shared.length = length;
    shared.recent.append(tokens);
    shared.recent.trim(RecentTokens::kKept);
    shared.pages = state->pages;
    shared.pages.truncate(KvLayout::pages_for(length));
    return shared;
}

void KvCodec::make_room(KvCheckpoint& state, std::int64_t length) const {
    state.pages.extend(state.length, length, pool_->stream());
    pool_->stream().synchronize();
}

bool KvCodec::read_rows(KvCheckpoint& state, std::span<const std::int32_t> tokens,
                        std::span<const std::byte> bytes) const {
    const auto begin = state.length, end = begin + static_cast<std::int64_t>(tokens.size());
    if (static_cast<std::int64_t>(bytes.size()) != rows_bytes(begin, end) ||
        !std::ranges::equal(bytes.first(tokens.size_bytes()), std::as_bytes(tokens)))
        return false;
    const std::byte* from = bytes.data() + tokens.size_bytes();
    auto stream = pool_->device()->make_stream();
    state.pages.extend(begin, end, *stream);
    each_run(pool_->layout(), begin, end, [&](std::int64_t page, std::int64_t offset, std::int64_t size) {
        stream->copy(state.pages.addresses()[page] + offset, from, static_cast<std::size_t>(size));
        from += size;
    });
    stream->synchronize();
    state.length = end;
    state.recent.append(tokens);
    state.recent.trim(RecentTokens::kKept);
    return true;
}

}  // namespace cachalot
