// The forward pass of a DeepSeek V4 model.
#pragma once

#include <functional>
#include <span>

#include "experts/expert_store.h"
#include "layers/workspace.h"
#include "state/batch.h"

namespace cachalot {

// Called after each layer, for tests and traces: streams [rows, 4, H], expert ids [rows, k].
using LayerObserver =
    std::function<void(int layer, std::span<const float> streams, std::span<const std::int32_t> experts)>;

// Runs the rows of a batch through the model and advances the states of its sequences. What it returns is valid until the
// next call with this workspace.
//
// Token ids must be in range and the states distinct. If it throws (experts may have to be read from a disk
// that fails), a state that was to gain many tokens is lost, since its rings have been overwritten: see
// KvState::intact(). Others are as before.
PassOutput forward(Backend& backend, const Config& config, const Weights& weights, ExpertStore& experts,
                   const Batch& batch, Workspace& ws, const LayerObserver& observer = {});

}  // namespace cachalot
