// How a layer differs from the other layers of its model: what it attends to besides its sliding window,
// which layer keeps what it reads, and how its experts are chosen.
//
//     kind     ratio  overlap  indexer
//     window   0                        only the last tokens
//     CSA      4      yes      yes      compressed rows of 4 tokens; an indexer chooses what a query sees
//     HCA      128                      compressed rows of 128 tokens; a query sees all of them
//
// Code asks for these properties, never for a kind: another model may combine them in other ways, and may let
// several layers read the rows of one.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace cachalot {

struct LayerShape {
    int ratio = 0;          // tokens per compressed row; 0: the layer has its window only
    bool overlap = false;   // a row pools the tokens of the group before its own, too
    bool indexer = false;   // the layer has an indexer, which chooses compressed rows for each query
    int kv_source = -1;     // the layer whose compressed rows and indexer keys are read; -1: none
    int index_source = -1;  // the layer whose indexer chooses; -1: all rows are seen
    bool hash = false;      // the layer's experts are looked up by token id, not scored

    bool operator==(const LayerShape&) const = default;
};

// Layer `layer` of a V4 model whose rows are compressed by `ratio`; none if V4 has no such ratio (it has 0, 4
// and 128).
std::optional<LayerShape> v4_layer(int layer, int ratio);

// Layers of these ratios, of which the first `hash_layers` look their experts up. Throws Error for other
// ratios.
std::vector<LayerShape> v4_layers(std::span<const int> ratios, int hash_layers = 0);

// "window", "csa" or "hca", for people.
std::string_view kind_name(const LayerShape& shape);

// The ratio of a kind of that name; none if there is no such kind.
std::optional<int> ratio_of_kind(std::string_view name);

}  // namespace cachalot
