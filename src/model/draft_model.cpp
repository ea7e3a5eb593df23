#include "model/draft_model.h"

#include <utility>

#include "model/part_tensors.h"

namespace cachalot {

std::shared_ptr<const DraftModel> load_draft_model(const Checkpoint& checkpoint, const Weights& model) {
    if (!has_drafter(checkpoint)) return nullptr;
    Weights bound;
    bind_drafter(checkpoint, bound);
    auto draft = std::make_shared<DraftModel>();
    draft->dspark = checkpoint.config().dspark;
    draft->targets = draft->dspark.target_layers;
    if (!checkpoint.config().is_v41())
        for (int& layer : draft->targets) ++layer;
    draft->config = dspark_stages(checkpoint.config());
    draft->parts = std::move(bound.drafter);
    draft->weights.embedding = model.embedding;
    draft->weights.layers = std::exchange(draft->parts.stages, {});
    draft->weights.head_mix = draft->parts.head_mix;
    draft->weights.norm = draft->parts.norm;
    draft->weights.head = model.head;
    return draft;
}

}  // namespace cachalot
