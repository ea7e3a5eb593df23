#include "model/layer_shape.h"

#include "base/error.h"

namespace cachalot {
namespace {

constexpr int kCsaRatio = 4;
constexpr int kHcaRatio = 128;

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

std::string_view kind_name(const LayerShape& shape) {
    return shape.ratio == 0 ? "window" : shape.indexer ? "csa" : "hca";
}

std::optional<int> ratio_of_kind(std::string_view name) {
    for (const int ratio : {0, kCsaRatio, kHcaRatio})
        if (kind_name(*v4_layer(0, ratio)) == name) return ratio;
    return std::nullopt;
}

}  // namespace cachalot
