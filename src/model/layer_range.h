// A part of a model's layers, as one process computes it. What flows from one part to the next are the
// residual streams.
#pragma once

#include "model/config.h"

namespace cachalot {

struct LayerRange {
    int first = 0;
    int last = 0;       // the layer after the last one
    bool embed = true;  // begins with tokens, not with streams
    bool head = true;   // ends with logits, not with streams

    bool contains(int layer) const { return first <= layer && layer < last; }
    bool operator==(const LayerRange&) const = default;
};

inline LayerRange all_layers(const Config& config) { return {0, config.layers, true, true}; }

// Numbers of a row that flow from one part to the next: the streams [4, H] and, with delayed mixing, the
// weights [4] of the next mix.
inline std::int64_t boundary_floats(const Config& config) {
    return kStreams * std::int64_t{config.hidden_size} + (config.delayed_mixing ? kStreams : 0);
}

// Layers [first, last) of a model: those at its ends embed tokens and compute logits. Throws Error if there
// are no such layers, or if one of them reads what a layer outside keeps or chooses.
LayerRange layer_range(const Config& config, int first, int last);

}  // namespace cachalot
