// The backend for cards of NVIDIA (cuda_backend.h), for whoever may have been built without it.
#pragma once

#include <memory>

#include "base/trace.h"
#include "kernels/cpu/cpu_options.h"
#include "layers/backend.h"
#include "model/layer_range.h"
#include "model/weights.h"

namespace cachalot {

// Throws Error for a model, or a part of one, that the boxes on cards cannot compute yet.
void check_cuda_model(const Config& config, const LayerRange& range);

// The pool's device is a card. Copies the weights there; throws OutOfMemory if they are more than there is
// room for. `host`: what runs sample(). All but the pool outlive the backend.
std::unique_ptr<Backend> make_cuda_backend(Primitives& host, const Config& config, const Weights& weights,
                                           const std::shared_ptr<KvPool>& pool, Precision precision,
                                           Trace* trace);

}  // namespace cachalot
