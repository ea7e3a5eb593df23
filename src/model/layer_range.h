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

// Layers [first, last) of a model: those at its ends embed tokens and compute logits. Throws Error if there
// are no such layers.
LayerRange layer_range(const Config& config, int first, int last);

}  // namespace cachalot
