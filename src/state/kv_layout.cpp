#include "state/kv_layout.h"

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

RowFormat::Kind kind_of(RowRounding rounding) {
    switch (rounding) {
        case RowRounding::fp8_64: return RowFormat::Kind::fp8_kv;
        case RowRounding::fp8_32: return RowFormat::Kind::fp8_32;
        case RowRounding::fp4_16: return RowFormat::Kind::fp4_16;
        case RowRounding::fp4_32: return RowFormat::Kind::fp4_key;
    }
    CACHALOT_CHECK(!"a value of RowRounding");
}

std::int64_t needed_bytes(std::span<const LayerLayout> layers, std::int64_t length) {
    std::int64_t total = 0;
    for (const auto& layer : layers)
        layer.each_ring(length, [&](const RowRing& ring, std::int64_t first) {
            total += (length - first) * ring.row_bytes;
        });
    return total;
}

}  // namespace

KvLayout::KvLayout(const Config& config, KvPrecision precision, const LayerRange& range,
                   const DraftModel* drafter)
    : precision_(precision), model_layers_(config.layer_shapes.size()) {
    using Kind = RowFormat::Kind;
    auto format = [&](Kind rounded, int size) {
        return RowFormat{precision == KvPrecision::f32 ? Kind::f32 : rounded, size, config.rope_dim};
    };
    window_format_ = format(kind_of(config.window_rows), config.head_dim);
    compressed_format_ = format(kind_of(config.compressed_rows), config.head_dim);
    index_format_ = format(Kind::fp4_key, config.index_head_dim);
    if (config.context_layers_end() < config.layers) context_end_bytes_ = sizeof(std::int64_t);
    layers_.resize(model_layers_ + (drafter ? drafter->weights.layers.size() : 0));
    for (int l = range.first; l < range.last; ++l) {
        const LayerShape& shape = config.shape(l);
        LayerLayout& layer = layers_[static_cast<std::size_t>(l)];
        layer.window = place(config.sliding_window - 1, window_format_.bytes());
        if (shape.kv_source != l) continue;
        layer.compressed = place(shape, compressed_format_, true);
        if (shape.indexer) layer.index = place(shape, index_format_, config.index_compressor);
    }
    for (auto& stage : std::span(layers_).subspan(model_layers_)) {
        const bool mtp = drafter->kind == DrafterKind::mtp;
        const int ahead = drafter->block_size() - 1;
        // All rows of a block see the whole window before the block.
        stage.window = place(config.sliding_window - mtp, window_format_.bytes(), ahead);
        if (mtp)
            stage.streams =
                place(1, std::int64_t(kStreams) * config.hidden_size * std::int64_t(sizeof(float)), ahead);
    }
}

// `pools`: the rows are pooled from the tokens themselves, and not made of other rows.
CompressorLayout KvLayout::place(const LayerShape& shape, const RowFormat& format, bool pools) {
    if (shape.ratio > kPageTokens)
        fail("layers that compress {} tokens into a row: at most {} are supported", shape.ratio, kPageTokens);
    CompressorLayout c;
    c.ratio = shape.ratio;
    c.overlap = shape.overlap;
    c.row_bytes = format.bytes();
    c.offset = place_bytes(page_bytes_, (kPageTokens + c.ratio - 1) / c.ratio * c.row_bytes);
    if (!pools || c.ratio == 1) return c;  // a token completes its row
    const std::int64_t groups = shape.overlap ? 2 : 1;
    c.kv = place(groups * shape.ratio - 1, groups * format.size * std::int64_t(sizeof(float)));
    c.score = place(groups * shape.ratio - 1, groups * format.size * std::int64_t(sizeof(float)));
    return c;
}

RowRing KvLayout::place(std::int64_t keep, std::int64_t row_bytes, std::int64_t ahead) {
    RowRing ring{0, row_bytes, keep, ahead};
    ring.offset = place_bytes(slab_bytes_, ring.bytes());
    return ring;
}

std::int64_t KvLayout::model_rings_bytes(std::int64_t length) const {
    return needed_bytes(layers(), length) + context_end_bytes_;
}

std::int64_t KvLayout::rings_bytes(std::int64_t length) const {
    const std::int64_t draft_begin = drafts() ? sizeof(std::int64_t) : 0;
    return model_rings_bytes(length) + needed_bytes(draft_stages(), length) + draft_begin;
}

bool KvLayout::are_rings(std::int64_t bytes, std::int64_t length) const {
    constexpr std::int64_t kSmall = 1 << 20;
    const auto of_model = model_rings_bytes(length);
    return bytes >= of_model && bytes - of_model <= std::max(of_model, kSmall);  // a drafter is small
}

}  // namespace cachalot
