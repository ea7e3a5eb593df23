#include "state/kv_state.h"

#include "base/error.h"

namespace cachalot {
namespace {

CompressorState make_compressor(int ratio, bool overlap, const RowFormat& format,
                                const CountedAllocator<std::byte>& allocator) {
    CompressorState c;
    c.ratio = ratio;
    c.overlap = overlap;
    c.rows = PagedRows(format.bytes(), allocator);
    std::int64_t keep = (overlap ? 2 : 1) * ratio - 1, width = (overlap ? 2 : 1) * format.size;
    c.kv = RowRing(keep, width * 4, allocator);
    c.score = RowRing(keep, width * 4, allocator);
    return c;
}

// Visits the rows of the rings that a continuation at `length` reaches: use(ring, first position).
template <class State, class Use>
void needed_rows(State& layer, std::int64_t length, const Use& use) {
    use(layer.window, std::max<std::int64_t>(0, length - layer.window.keep()));
    for (auto* c : {&layer.compressed, &layer.index})
        if (c->ratio) {
            use(c->kv, c->first_needed(length));
            use(c->score, c->first_needed(length));
        }
}

// Visits the compressors of a list of layers.
template <class Layers, class Use>
void each_compressor(Layers& layers, const Use& use) {
    for (auto& layer : layers)
        for (auto* c : {&layer.compressed, &layer.index})
            if (c->ratio) use(*c);
}

}  // namespace

KvState::KvState(const Config& config, KvPrecision precision, std::shared_ptr<MemoryCount> count)
    : precision_(precision), allocator_(std::move(count)) {
    using Kind = RowFormat::Kind;
    bool f32 = precision == KvPrecision::f32;
    latent_format_ = {f32 ? Kind::f32 : Kind::fp8_kv, config.head_dim, config.rope_dim};
    index_format_ = {f32 ? Kind::f32 : Kind::fp4_key, config.index_head_dim, config.rope_dim};
    for (const LayerShape& shape : config.layer_shapes) {
        LayerState layer;
        layer.window = RowRing(config.sliding_window - 1, latent_format_.bytes(), allocator_);
        if (shape.ratio)
            layer.compressed = make_compressor(shape.ratio, shape.overlap, latent_format_, allocator_);
        if (shape.indexer)
            layer.index = make_compressor(shape.ratio, shape.overlap, index_format_, allocator_);
        layers_.push_back(std::move(layer));
    }
}

void KvState::extend(std::int64_t count) {
    each_compressor(layers_, [&](CompressorState& c) {
        c.rows.truncate(length_ / c.ratio);  // a pass that failed leaves more
        c.rows.extend((length_ + count) / c.ratio);
    });
    floor_ = std::max(floor_, length_ + count - kRollback);  // the rings are overwritten from now on
}

void KvState::advance(std::int64_t count) { length_ += count; }

void KvState::check_kept(std::int64_t length) const {
    if (length > length_ || length < floor_)
        fail("cannot go back from {} to {} tokens: only the last {} can be taken back", length_, length,
             length_ - floor_);
}

void KvState::rollback(std::int64_t length) {
    check_kept(length);
    length_ = length;
    each_compressor(layers_, [&](CompressorState& c) { c.rows.truncate(length / c.ratio); });
}

KvCheckpoint KvState::checkpoint() const { return checkpoint(length_); }

KvCheckpoint KvState::checkpoint(std::int64_t length) const {
    check_kept(length);
    KvCheckpoint saved;
    saved.precision = precision_;
    saved.length = length;
    saved.rings = CountedBytes(allocator_);
    std::int64_t bytes = 0;
    for (const auto& layer : layers_)
        needed_rows(layer, length, [&](const RowRing& ring, std::int64_t first) {
            bytes += (length - first) * ring.row_bytes();
        });
    saved.rings.reserve(static_cast<std::size_t>(bytes));
    for (const auto& layer : layers_) {
        KvCheckpoint::Layer rows{layer.compressed.rows, layer.index.rows};
        if (layer.compressed.ratio) rows.compressed.truncate(length / layer.compressed.ratio);
        if (layer.index.ratio) rows.index.truncate(length / layer.index.ratio);
        saved.layers.push_back(std::move(rows));
        needed_rows(layer, length,
                    [&](const RowRing& ring, std::int64_t first) { ring.save(first, length, saved.rings); });
    }
    return saved;
}

void KvState::restore(const KvCheckpoint& saved) {
    bool fits = saved.precision == precision_ && saved.layers.size() == layers_.size();
    for (std::size_t l = 0; fits && l < layers_.size(); ++l)
        fits = saved.layers[l].compressed.row_bytes() == layers_[l].compressed.rows.row_bytes() &&
               saved.layers[l].index.row_bytes() == layers_[l].index.rows.row_bytes();
    if (!fits) fail("the checkpoint belongs to another model or to another precision of the KV cache");
    const std::byte* rings = saved.rings.data();
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        layers_[l].compressed.rows = saved.layers[l].compressed;
        layers_[l].index.rows = saved.layers[l].index;
        needed_rows(layers_[l], saved.length, [&](RowRing& ring, std::int64_t first) {
            rings = ring.load(first, saved.length, rings);
        });
    }
    CACHALOT_CHECK(rings == saved.rings.data() + saved.rings.size());
    length_ = floor_ = saved.length;
}

std::int64_t KvState::bytes_at(std::int64_t length) const {
    std::int64_t total = 0;
    for (const auto& layer : layers_) total += layer.window.bytes();
    each_compressor(layers_, [&](const CompressorState& c) {
        total +=
            PagedRows::pages_for(length / c.ratio) * c.rows.page_bytes() + c.kv.bytes() + c.score.bytes();
    });
    return total;
}

std::int64_t KvState::growth(std::int64_t count) const {
    std::int64_t total = bytes_at(length_ + count) - bytes_at(length_);
    each_compressor(layers_, [&](const CompressorState& c) { total += c.rows.page_bytes(); });
    return total;
}

std::int64_t KvCheckpoint::bytes_beyond(const KvCheckpoint* prefix) const {
    auto own = [](const PagedRows& rows, const PagedRows* shared) {
        auto full =
            shared ? shared->size() >> PagedRows::kPageShift : 0;  // the last page was copied if it was not
        return (static_cast<std::int64_t>(rows.pages()) - full) * rows.page_bytes();
    };
    auto total = static_cast<std::int64_t>(rings.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
        total += own(layers[l].compressed, prefix ? &prefix->layers[l].compressed : nullptr);
        total += own(layers[l].index, prefix ? &prefix->layers[l].index : nullptr);
    }
    return total;
}

}  // namespace cachalot
