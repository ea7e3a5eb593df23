// Where everything that a sequence remembers lies. Plain numbers, which follow from the model's shape.
//
//   page   256 tokens of all layers: for each compressor the rows that these tokens complete, one after the
//          other. Rows never change, so sequences with a common beginning share its pages. Layers that read
//          the rows of another layer have none.
//   slab   the rings of one sequence: of every layer the last latent rows (window), and what the compressors'
//          unfinished groups are made of (kv and score, float32).
//
//     page:  | layer 2: 64 rows, 64 keys | layer 3: 2 rows | layer 4: 64 rows, 64 keys | ...
//     slab:  | layer 0: window | ... | layer 2: window, kv, score, index kv, index score | ...
//
// Behind the layers of the model come the stages of its drafter, if one is used: windows only, and with the
// block for multi-token prediction the residual streams of the last tokens, from which it goes on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "model/draft_model.h"
#include "model/layer_range.h"
#include "state/row_ring.h"

namespace cachalot {

enum class KvPrecision {
    reference,  // FP8 latents and FP4 indexer keys: rounds as DeepSeek's inference code; the smallest
    f32,        // no rounding
};

// One compressor's share of a layer: finished rows in pages, and what unfinished groups are made of.
struct CompressorLayout {
    int ratio = 0;  // tokens a row; 0: there is no compressor
    bool overlap = false;
    std::int64_t offset = 0;  // of its rows in a page, bytes
    std::int64_t row_bytes = 0;
    RowRing kv, score;  // [position] width floats; none where nothing is unfinished

    PagedView rows(std::byte* const* pages) const { return {pages, ratio, row_bytes, offset}; }

    // The first position whose kv and score a group that is incomplete at `length` needs.
    std::int64_t first_needed(std::int64_t length) const {
        auto group = length / ratio * ratio;
        return overlap && group >= ratio ? group - ratio : group;
    }

    // Visits the runs of rows [first, last) that lie in one page: use(number of the page, offset in it,
    // bytes).
    template <class Use>
    void each_run(std::int64_t first, std::int64_t last, const Use& use) const {
        while (first < last) {
            const auto page = PagedView::page_of(first, ratio);
            const auto begin = PagedView::first_of(page, ratio);
            const auto end = std::min(last, PagedView::first_of(page + 1, ratio));
            use(page, offset + (first - begin) * row_bytes, (end - first) * row_bytes);
            first = end;
        }
    }

    bool operator==(const CompressorLayout&) const = default;
};

struct LayerLayout {
    RowRing window;
    RowRing streams;  // [position] the streams [4, H] behind the last layer, float32; of an MTP block only
    CompressorLayout compressed, index;

    // Visits those of the two that there are.
    template <class Use>
    void each_compressor(const Use& use) const {
        if (compressed.ratio) use(compressed);
        if (index.ratio) use(index);
    }
    // Visits the rings in the order of the slab: use(ring, first position that a continuation at `length`
    // reaches).
    template <class Use>
    void each_ring(std::int64_t length, const Use& use) const {
        for (const RowRing* ring : {&window, &streams})
            if (ring->row_bytes) use(*ring, std::max<std::int64_t>(0, length - ring->keep));
        each_compressor([&](const CompressorLayout& c) {
            if (c.kv.row_bytes) use(c.kv, c.first_needed(length));
            if (c.score.row_bytes) use(c.score, c.first_needed(length));
        });
    }

    bool operator==(const LayerLayout&) const = default;
};

class KvLayout {
  public:
    static constexpr std::int64_t kPageTokens = std::int64_t(1) << PagedView::kPageShift;

    // Of the layers in `range`; others have nothing. Throws Error for a ratio above a page's tokens.
    // `drafter`: its stages have a place, too; null: there is none.
    KvLayout(const Config& config, KvPrecision precision, const LayerRange& range,
             const DraftModel* drafter = nullptr);
    KvLayout(const Config& config, KvPrecision precision) : KvLayout(config, precision, all_layers(config)) {}

    KvPrecision precision() const { return precision_; }
    RowFormat window_format() const { return window_format_; }
    RowFormat compressed_format() const { return compressed_format_; }
    RowFormat index_format() const { return index_format_; }
    std::span<const LayerLayout> layers() const { return std::span(layers_).first(model_layers_); }
    std::span<const LayerLayout> draft_stages() const { return std::span(layers_).subspan(model_layers_); }
    // Of the model or, behind its layers, of the drafter.
    const LayerLayout& layer(int l) const { return layers_[static_cast<std::size_t>(l)]; }

    std::int64_t page_bytes() const { return page_bytes_; }
    std::int64_t slab_bytes() const { return slab_bytes_; }
    // Of the number that tells where rows of context end; 0: no layer leaves them out.
    std::int64_t context_end_bytes() const { return context_end_bytes_; }
    bool drafts() const { return layers_.size() > model_layers_; }
    // Of KvCheckpoint::rings at so many tokens.
    std::int64_t rings_bytes(std::int64_t length) const;
    // Whether a checkpoint may have so many bytes of rings: more or less of a drafter makes no difference.
    bool are_rings(std::int64_t bytes, std::int64_t length) const;
    static std::int64_t pages_for(std::int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

    // Bytes of a running sequence of so many tokens that shares nothing.
    std::int64_t bytes_at(std::int64_t length) const { return slab_bytes_ + pages_for(length) * page_bytes_; }
    // The most that `count` tokens add to a sequence, with the copy of a page that it shares.
    std::int64_t growth(std::int64_t length, std::int64_t count) const {
        return (pages_for(length + count) - pages_for(length) + 1) * page_bytes_;
    }

    bool operator==(const KvLayout&) const = default;

  private:
    CompressorLayout place(const LayerShape& shape, const RowFormat& format, bool pools);
    RowRing place(std::int64_t keep, std::int64_t row_bytes, std::int64_t ahead = 0);
    std::int64_t model_rings_bytes(std::int64_t length) const;

    KvPrecision precision_;
    RowFormat window_format_, compressed_format_, index_format_;
    std::vector<LayerLayout> layers_;
    std::size_t model_layers_ = 0;
    std::int64_t page_bytes_ = 0, slab_bytes_ = 0, context_end_bytes_ = 0;
};

}  // namespace cachalot
