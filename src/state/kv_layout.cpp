#include "state/kv_layout.h"

#include <bit>

#include "base/aligned.h"
#include "base/error.h"

namespace cachalot {
namespace {

// Everything begins on a cache line.
std::int64_t place_bytes(std::int64_t& end, std::int64_t bytes) {
    constexpr auto kLine = static_cast<std::int64_t>(kCacheLine);
    const auto offset = end;
    end += (bytes + kLine - 1) / kLine * kLine;
    return offset;
}

}  // namespace

KvLayout::KvLayout(const Config& config, KvPrecision precision, const LayerRange& range)
    : precision_(precision) {
    using Kind = RowFormat::Kind;
    const bool f32 = precision == KvPrecision::f32;
    latent_format_ = {f32 ? Kind::f32 : Kind::fp8_kv, config.head_dim, config.rope_dim};
    index_format_ = {f32 ? Kind::f32 : Kind::fp4_key, config.index_head_dim, config.rope_dim};
    layers_.resize(config.layer_shapes.size());
    for (int l = range.first; l < range.last; ++l) {
        const LayerShape& shape = config.shape(l);
        LayerLayout& layer = layers_[static_cast<std::size_t>(l)];
        layer.window = place(config.sliding_window - 1, latent_format_.bytes());
        if (shape.ratio) layer.compressed = place(shape, latent_format_);
        if (shape.indexer) layer.index = place(shape, index_format_);
    }
}

CompressorLayout KvLayout::place(const LayerShape& shape, const RowFormat& format) {
    const auto ratio = static_cast<std::uint64_t>(shape.ratio);
    if (!std::has_single_bit(ratio) || shape.ratio > kPageTokens)
        fail("layers that compress {} tokens into a row: only powers of two up to {} are supported",
             shape.ratio, kPageTokens);
    CompressorLayout c;
    c.ratio = shape.ratio;
    c.overlap = shape.overlap;
    c.row_bytes = format.bytes();
    c.page_shift = std::countr_zero(static_cast<std::uint64_t>(kPageTokens) / ratio);
    c.offset = place_bytes(page_bytes_, c.row_bytes << c.page_shift);
    const std::int64_t groups = shape.overlap ? 2 : 1;
    c.kv = place(groups * shape.ratio - 1, groups * format.size * std::int64_t(sizeof(float)));
    c.score = place(groups * shape.ratio - 1, groups * format.size * std::int64_t(sizeof(float)));
    return c;
}

RowRing KvLayout::place(std::int64_t keep, std::int64_t row_bytes) {
    RowRing ring{0, row_bytes, keep};
    ring.offset = place_bytes(slab_bytes_, ring.bytes());
    return ring;
}

}  // namespace cachalot
