#include "state/kv_codec.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

void append(CountedBytes& out, const void* data, std::int64_t bytes) {
    auto from = static_cast<const std::byte*>(data);
    out.insert(out.end(), from, from + bytes);
}

// Visits the pieces of rows [first, last) that lie in one page: use(address, bytes).
template <class Use>
void each_piece(const PagedRows& rows, std::int64_t first, std::int64_t last, const Use& use) {
    const auto view = rows.view();
    while (first < last) {
        auto end = std::min(last, (first / PagedRows::kPageRows + 1) * PagedRows::kPageRows);
        use(view.row(first), (end - first) * rows.row_bytes());
        first = end;
    }
}

}  // namespace

KvCodec::KvCodec(KvState& state) : empty_(state.checkpoint(0)) {
    for (int l = 0; l < static_cast<int>(empty_.layers.size()); ++l) {
        const auto& from = state.layer(l);
        Layer layer;
        layer.window_keep = from.window.keep();
        layer.window_row = from.window.row_bytes();
        for (auto [to, c, ring_row] :
             {std::tuple(&layer.compressed, &from.compressed, &layer.compressed_ring_row),
              std::tuple(&layer.index, &from.index, &layer.index_ring_row)}) {
            to->ratio = c->ratio;
            to->overlap = c->overlap;
            *ring_row = c->kv.row_bytes() + c->score.row_bytes();
        }
        layers_.push_back(std::move(layer));
    }
}

template <class Use>
void KvCodec::each(const Use& use) const {
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        if (layers_[l].compressed.ratio)
            use(l, &KvCheckpoint::Layer::compressed, layers_[l].compressed.ratio);
        if (layers_[l].index.ratio) use(l, &KvCheckpoint::Layer::index, layers_[l].index.ratio);
    }
}

std::int64_t KvCodec::rows_bytes(std::int64_t begin, std::int64_t end) const {
    auto total = (end - begin) * std::int64_t(sizeof(std::int32_t));
    each([&](std::size_t l, auto which, int ratio) {
        total += (end / ratio - begin / ratio) * (empty_.layers[l].*which).row_bytes();
    });
    return total;
}

std::int64_t KvCodec::rings_bytes(std::int64_t length) const {
    std::int64_t total = 0;
    for (const auto& layer : layers_) {
        total += std::min(length, layer.window_keep) * layer.window_row;
        if (layer.compressed.ratio)
            total += (length - layer.compressed.first_needed(length)) * layer.compressed_ring_row;
        if (layer.index.ratio) total += (length - layer.index.first_needed(length)) * layer.index_ring_row;
    }
    return total;
}

void KvCodec::write_rows(const KvCheckpoint& state, std::int64_t begin, std::span<const std::int32_t> tokens,
                         CountedBytes& out) const {
    const auto end = begin + static_cast<std::int64_t>(tokens.size());
    CACHALOT_CHECK(end <= state.length);
    append(out, tokens.data(), static_cast<std::int64_t>(tokens.size_bytes()));
    each([&](std::size_t l, auto which, int ratio) {
        each_piece(state.layers[l].*which, begin / ratio, end / ratio,
                   [&](const std::byte* piece, std::int64_t bytes) { append(out, piece, bytes); });
    });
}

KvCheckpoint KvCodec::beginning(const KvCheckpoint* state, std::int64_t length) const {
    KvCheckpoint shared = empty_;
    if (!state) return shared;
    CACHALOT_CHECK(length <= state->length);
    shared.length = length;
    each([&](std::size_t l, auto which, int ratio) {
        shared.layers[l].*which = state->layers[l].*which;
        (shared.layers[l].*which).truncate(length / ratio);
    });
    return shared;
}

void KvCodec::make_room(KvCheckpoint& state, std::int64_t length) const {
    each([&](std::size_t l, auto which, int ratio) { (state.layers[l].*which).extend(length / ratio); });
}

bool KvCodec::read_rows(KvCheckpoint& state, std::span<const std::int32_t> tokens,
                        std::span<const std::byte> bytes) const {
    const auto begin = state.length, end = begin + static_cast<std::int64_t>(tokens.size());
    if (static_cast<std::int64_t>(bytes.size()) != rows_bytes(begin, end) ||
        std::memcmp(bytes.data(), tokens.data(), tokens.size_bytes()) != 0)
        return false;
    const std::byte* from = bytes.data() + tokens.size_bytes();
    each([&](std::size_t l, auto which, int ratio) {
        auto& rows = state.layers[l].*which;
        rows.extend(end / ratio);
        each_piece(rows, begin / ratio, end / ratio, [&](std::byte* piece, std::int64_t size) {
            std::memcpy(piece, from, static_cast<std::size_t>(size));
            from += size;
        });
    });
    state.length = end;
    return true;
}

}  // namespace cachalot
