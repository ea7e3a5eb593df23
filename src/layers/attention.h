// The attention sub-layer: window attention over one latent per token, with compressed rows of the older tokens in
// CSA layers (those that the indexer chooses) and HCA layers (all).
#pragma once

#include <span>

#include "layers/batch.h"
#include "layers/workspace.h"
#include "model/weights.h"

namespace cachalot {

// ws.x [rows, H] -> ws.out [rows, H]; reads and extends the segments' states.
void attention(Backend& backend, const Config& config, const AttentionWeights& weights, int layer,
               std::span<const BatchRows> segments, int rows, Workspace& ws);

}  // namespace cachalot
