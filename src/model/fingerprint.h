// Which model this is, told from its contents: files that are kept beside a model or from one start to the next belong
// to one, wherever it lies and whatever it is called.
#pragma once

#include <string>

#include "base/hash.h"
#include "model/model.h"

namespace cachalot {

// The shape of the model, samples of all its dense weights and of some experts. Reads a few kilobytes of each layer.
std::string model_identity(const Model& model);

// Its hash.
Hash128 model_fingerprint(const Model& model);

}  // namespace cachalot
