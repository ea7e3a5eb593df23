// What drafts tokens beside a model: a small model of its own, whose layers are called stages and attend to a
// window only. Its embedding and head are those of the model.
#pragma once

#include <memory>

#include "model/checkpoint.h"
#include "model/weights.h"

namespace cachalot {

struct DraftModel {
    std::shared_ptr<const Checkpoint> beside;  // null: it is in the model's own files
    DsparkConfig dspark;
    // Those layers of the model whose input it reads: releases of V4 name the layer before.
    std::vector<int> targets;
    Config config;         // of the stages, as the layers of a model (dspark_stages)
    Weights weights;       // likewise
    DrafterWeights parts;  // what no model has; its stages are empty
};

// The drafter of these files, for a model with these weights; null if they have none. Throws Error naming the
// tensor that is missing or has another shape.
std::shared_ptr<const DraftModel> load_draft_model(const Checkpoint& checkpoint, const Weights& model);

}  // namespace cachalot
