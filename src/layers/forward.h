// The forward pass of a DeepSeek V4 model.
#pragma once

#include <functional>
#include <span>

#include "experts/expert_store.h"
#include "layers/batch.h"
#include "layers/workspace.h"

namespace cachalot {

// Called after each layer, for tests and traces: streams [rows, 4, H], expert ids [rows, k].
using LayerObserver =
    std::function<void(int layer, std::span<const float> streams, std::span<const std::int32_t> experts)>;

// Runs the tokens of all segments through the model and advances their states. Returns the logits [n, vocab] of the
// rows asked for, in order; they are valid until the next call with this workspace.
//
// Token ids must be in range and the segments' states distinct. If it throws (experts may have to be read from a disk
// that fails), a state that was to gain many tokens is lost, since its rings have been overwritten: see
// KvState::intact(). Others are as before.
std::span<float> forward(Backend& backend, const Config& config, const Weights& weights, ExpertStore& experts,
                         std::span<const Segment> segments, Workspace& ws,
                         const LayerObserver& observer = {});

}  // namespace cachalot
