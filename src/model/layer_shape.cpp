#include "model/layer_shape.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr int kCsaRatio = 4;
constexpr int kHcaRatio = 128;

// Numbers of layers, each once and in order.
void check_list(const std::vector<int>& list, std::size_t layers, std::string_view what,
                std::string_view source) {
    for (std::size_t i = 0; i < list.size(); ++i) {
        if (list[i] < 0 || std::cmp_greater_equal(list[i], layers))
            fail("{}: {} names layer {} of {}", source, what, list[i], layers);
        if (i && list[i] == list[i - 1]) fail("{}: {} names layer {} twice", source, what, list[i]);
        if (i && list[i] < list[i - 1])
            fail("{}: {} names layer {} after layer {}", source, what, list[i], list[i - 1]);
    }
}

// The last of `list` up to `layer`; -1 if there is none.
int last_until(const std::vector<int>& list, int layer) {
    const auto after = std::upper_bound(list.begin(), list.end(), layer);
    return after == list.begin() ? -1 : *std::prev(after);
}

}  // namespace

std::optional<LayerShape> v4_layer(int layer, int ratio) {
    LayerShape shape;
    shape.ratio = ratio;
    if (ratio == 0) return shape;
    shape.kv_source = layer;
    if (ratio == kHcaRatio) return shape;
    shape.overlap = shape.indexer = true;
    shape.index_source = layer;
    if (ratio == kCsaRatio) return shape;
    return std::nullopt;
}

std::vector<LayerShape> v4_layers(std::span<const int> ratios, int hash_layers) {
    std::vector<LayerShape> shapes;
    for (const int ratio : ratios) {
        const int layer = static_cast<int>(shapes.size());
        auto shape = v4_layer(layer, ratio);
        if (!shape) fail("layer {}: a compression ratio of {}; V4 has 0, 4 and 128", layer, ratio);
        shape->hash = layer < hash_layers;
        shapes.push_back(*shape);
    }
    return shapes;
}

std::vector<LayerShape> v41_layers(const V41Layers& all, std::string_view source) {
    const auto count = all.ratios.size();
    check_list(all.kv_sources, count, "the list of layers that keep rows (kv_source_layer_ids)", source);
    check_list(all.index_sources, count, "the list of index sources (index_source_layer_ids)", source);
    check_list(all.engram, count, "the list of Engram layers (engram_layer_ids)", source);
    const int candidates = all.candidate_source;
    if (candidates >= 0 &&
        !std::binary_search(all.index_sources.begin(), all.index_sources.end(), candidates))
        fail("{}: layer {} is to make the candidates (candidate_source_layer_id), but is no index source",
             source, candidates);
    std::vector<LayerShape> shapes(count);
    for (std::size_t i = 0; i < all.engram.size(); ++i)
        shapes[static_cast<std::size_t>(all.engram[i])].engram = static_cast<int>(i);
    const auto is_in = [](const std::vector<int>& list, int layer) {
        return std::binary_search(list.begin(), list.end(), layer);
    };
    for (int l = 0; std::cmp_less(l, count); ++l) {
        LayerShape& shape = shapes[static_cast<std::size_t>(l)];
        shape.ratio = all.ratios[static_cast<std::size_t>(l)];
        if (shape.ratio == 0) {
            if (is_in(all.kv_sources, l) || is_in(all.index_sources, l))
                fail("{}: layer {} is a source of compressed rows or of a choice, but its ratio is 0", source,
                     l);
            continue;
        }
        shape.kv_source = last_until(all.kv_sources, l);
        shape.index_source = last_until(all.index_sources, l);
        if (shape.kv_source < 0) fail("{}: no layer up to {} keeps the rows that it reads", source, l);
        if (all.ratios[static_cast<std::size_t>(shape.kv_source)] != shape.ratio)
            fail("{}: layer {} has a ratio of {}, but the layer {} whose rows it reads has {}", source, l,
                 shape.ratio, shape.kv_source, all.ratios[static_cast<std::size_t>(shape.kv_source)]);
        if (shape.index_source < shape.kv_source)
            fail(
                "{}: layer {} reads the rows of layer {}, and no index source from there on chooses among "
                "them",
                source, l, shape.kv_source);
        shape.indexer = shape.index_source == l;
        if (!shape.indexer || candidates < 0 || l < candidates) continue;
        shape.candidate_source = candidates;
        if (shape.kv_source != shapes[static_cast<std::size_t>(candidates)].kv_source)
            fail("{}: layer {} keeps to the candidates of layer {}, which chooses among other rows", source,
                 l, candidates);
    }
    return shapes;
}

std::string_view kind_name(const LayerShape& shape) {
    return shape.ratio == 0 ? "window" : shape.index_source >= 0 ? "csa" : "hca";
}

std::optional<int> ratio_of_kind(std::string_view name) {
    for (const int ratio : {0, kCsaRatio, kHcaRatio})
        if (kind_name(*v4_layer(0, ratio)) == name) return ratio;
    return std::nullopt;
}

}  // namespace cachalot
