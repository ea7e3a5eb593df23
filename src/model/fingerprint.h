// Which model this is, told from samples of its contents: files that are kept beside a model or from one
// start to the next belong to one, wherever it lies and whatever it is called. Two models that differ in few
// places may be the same to this; content_fingerprint.h reads all of them.
#pragma once

#include <string>

#include "base/hash.h"
#include "model/model.h"

namespace cachalot {

// The shape of the model, samples of all its dense weights and of some experts. Reads a few kilobytes of each
// layer.
std::string model_identity(const Model& model);

// The numbers of the configuration that what is computed depends on.
std::string config_identity(const Config& config);

// The hash of model_identity().
Hash128 model_fingerprint(const Model& model);

// Of the model and its drafter, which it must have.
Hash128 drafter_fingerprint(const Model& model);

}  // namespace cachalot
