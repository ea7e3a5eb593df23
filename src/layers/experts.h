// The expert sub-layer: a router chooses k of E experts for each token, by affinity or (in the first layers) by the
// token's id; a shared expert sees every token.
#pragma once

#include <span>

#include "experts/expert_store.h"
#include "layers/workspace.h"

namespace cachalot {

// ws.x [rows, H] -> ws.out [rows, H]. Leaves the choice in ws.expert_ids [rows, k].
void mixture_of_experts(Backend& backend, const Config& config, const LayerWeights& weights,
                        ExpertStore& store, int layer, std::span<const std::int32_t> tokens, Workspace& ws);

}  // namespace cachalot
