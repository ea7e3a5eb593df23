// What the bytes of an attention state depend on, beside its tokens, as one number.
#pragma once

#include "cache/token_chain.h"
#include "engine/engine.h"

namespace cachalot {

// Of the shape of the model, samples of all its dense weights and of some experts, the precisions, and the kernels: two
// engines with the same number compute the same states. Reads a few kilobytes of each layer.
ChainKey state_fingerprint(const Engine& engine);

}  // namespace cachalot
