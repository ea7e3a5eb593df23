// What the bytes of an attention state depend on, beside its tokens, as one number.
#pragma once

#include "engine/engine.h"
#include "prefix/token_chain.h"

namespace cachalot {

// Of the model (its content_fingerprint) and its layers, the precisions, and the kernels: two engines with
// the same number compute the same states.
ChainKey state_fingerprint(const Engine& engine, const Hash128& model);

// Reads the whole model to compute its content fingerprint first.
ChainKey state_fingerprint(const Engine& engine);

}  // namespace cachalot
