// The tensors of a whole checkpoint: those of the model, and of the drafter and the vision model if they are
// there.
//
// A configuration may speak of parts that a file has not: tools that make files smaller take them off and
// leave the settings.
#pragma once

#include <vector>

#include "model/checkpoint.h"
#include "model/model_tensors.h"

namespace cachalot {

// What turns pictures into embeddings, named in GGUF as in the projectors (mmproj) of llama.cpp; empty if
// there is none. They have no `member`.
std::vector<TensorSpec> vision_tensors(const Config& config);

// Whether the configuration has the part and its first tensor is there. The others may be missing even so,
// which is an error where they are used.
bool has_drafter(const Checkpoint& checkpoint);
bool has_vision(const Checkpoint& checkpoint);
// A drafter that is kept beside its model: nothing of the model is there.
bool is_drafter_only(const Checkpoint& checkpoint);
// Throws Error, with a remedy, if it is only that.
void check_more_than_drafter(const Checkpoint& checkpoint);

// Of a matrix, plain or not, or of experts. Throws Error as Checkpoint::matrix() does.
Matrix stored_matrix(const Checkpoint& checkpoint, const TensorSpec& spec, int expert = 0);

}  // namespace cachalot
