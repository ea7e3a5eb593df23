// The forward pass of a DeepSeek V4 model.
#pragma once

#include "layers/backend.h"
#include "model/layer_range.h"

namespace cachalot {

// Runs the rows of a batch through these layers of the model that the backend was made for, and advances the
// states of its sequences.
//
// Token ids must be in range and the states distinct. If it throws (experts may have to be read from a disk
// that fails), a state that was to gain many tokens is lost, since its rings have been overwritten: see
// KvState::intact(). Others are as before.
PassOutput forward(Backend& backend, const LayerRange& range, const Batch& batch);

// Runs the rows of a batch, which are to be drafted, through the stages of the drafter that the backend was
// made for. The states remain as they are: of the rows behind them nothing is kept.
PassOutput draft(Backend& stages, const LayerRange& range, const Batch& batch);

}  // namespace cachalot
