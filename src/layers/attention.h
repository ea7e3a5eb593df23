// The attention sub-layer: window attention over one latent per token, with compressed rows of the older tokens in
// CSA layers (those that the indexer chooses) and HCA layers (all).
#pragma once

#include <span>

#include "layers/workspace.h"
#include "model/weights.h"
#include "state/batch.h"

namespace cachalot {

// ws.x [rows, H] -> ws.out [rows, H]; reads and extends the states of the batch's sequences.
void attention(Backend& backend, const Config& config, const AttentionWeights& weights, int layer,
               const Batch& batch, Workspace& ws);

}  // namespace cachalot
