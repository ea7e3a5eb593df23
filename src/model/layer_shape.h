// How a layer differs from the other layers of its model: what it attends to besides its sliding window,
// which layer keeps what it reads, and how its experts are chosen.
//
//     kind     ratio  overlap  indexer
//     window   0                        only the last tokens
//     CSA      4      yes      yes      compressed rows of 4 tokens; an indexer chooses what a query sees
//     HCA      128                      compressed rows of 128 tokens; a query sees all of them
//
// Those are the kinds of V4. Layers of V4.1 have windows, or compressed rows that an indexer chooses from, of
// any ratio and without overlap. Few of its layers keep rows and few have an indexer; the others read the
// rows, and use the choice, of the last layer before them that does.
//
// Code asks for these properties, never for a kind.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace cachalot {

struct LayerShape {
    int ratio = 0;              // tokens per compressed row; 0: the layer has its window only
    bool overlap = false;       // a row pools the tokens of the group before its own, too
    bool indexer = false;       // the layer has an indexer, which chooses compressed rows for each query
    int kv_source = -1;         // the layer whose compressed rows and indexer keys are read; -1: none
    int index_source = -1;      // the layer whose indexer chooses; -1: all rows are seen
    bool hash = false;          // the layer's experts are looked up by token id, not scored
    int candidate_source = -1;  // the layer whose blocks of candidates the layer's own indexer keeps to; the
                                // layer itself if it makes them, which restricts only others; -1: none
    int engram = -1;            // the number of the layer's Engram table; -1: none

    bool operator==(const LayerShape&) const = default;
};

// Layer `layer` of a V4 model whose rows are compressed by `ratio`; none if V4 has no such ratio (it has 0, 4
// and 128).
std::optional<LayerShape> v4_layer(int layer, int ratio);

// Layers of these ratios, of which the first `hash_layers` look their experts up. Throws Error for other
// ratios.
std::vector<LayerShape> v4_layers(std::span<const int> ratios, int hash_layers = 0);

// What a V4.1 model says of its layers. Rows of layer l, and the keys of its indexer, are those of the last
// layer of `kv_sources` up to l; the choice is that of the last layer of `index_sources` up to l.
struct V41Layers {
    std::vector<int> ratios;
    std::vector<int> kv_sources, index_sources;  // ascending
    int candidate_source = -1;                   // -1: none
    std::vector<int> engram;                     // layers with a table, ascending
};

// Throws Error, starting with `source`, for layers that are not there or named twice, and for a layer that
// would read rows, or use a choice, that was not made for it.
std::vector<LayerShape> v41_layers(const V41Layers& layers, std::string_view source);

// "window", "csa" (an indexer chooses what is seen) or "hca" (all rows are seen), for people.
std::string_view kind_name(const LayerShape& shape);

// The ratio of a kind of that name; none if there is no such kind.
std::optional<int> ratio_of_kind(std::string_view name);

}  // namespace cachalot
