// What drafts tokens beside a model: a small model of its own, whose layers are called stages and attend to a
// window only. Its embedding and head are those of the model.
//
// It is a part of the model's files, or lies beside them: a folder with a config.json and the tensors mtp.*
// of a release, or a GGUF file that `convert` made of such a folder. A whole model with a drafter will do as
// well.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "model/checkpoint.h"
#include "model/weights.h"

namespace cachalot {

// How often the block for multi-token prediction is asked for one more token, with its own output streams.
// The releases were trained for the first; drafts of later tokens are right less often.
inline constexpr int kMtpDepth = 3;

struct DraftModel {
    DrafterKind kind = DrafterKind::none;
    std::shared_ptr<const Checkpoint> beside;  // null: it is in the model's own files
    DsparkConfig dspark;                       // of DSpark
    // DSpark: those layers of the model whose input it reads. Releases of V4 name the layer before.
    std::vector<int> targets;
    Config config;         // of the stages, as the layers of a model (drafter_stages)
    Weights weights;       // likewise
    DrafterWeights parts;  // what no model has; its stages are empty

    // The most tokens that it drafts at once.
    int block_size() const { return kind == DrafterKind::mtp ? kMtpDepth : dspark.block_size; }

    // That its matrices are views into and the model's checkpoint does not list.
    std::span<const MappedFile> files() const;
};

// The general.type of a GGUF file that has a drafter only.
inline constexpr const char* kDrafterFile = "drafter";

// The drafter of these files, for a model with these weights; null if they have none. Throws Error naming the
// tensor that is missing or has another shape.
std::shared_ptr<const DraftModel> load_draft_model(const Checkpoint& checkpoint, const Weights& model);

// Opens the drafter of `path` for that model. Throws Error naming the file, and the key in which it differs:
// another architecture or vocabulary, other sizes of what it shares with the model, layers that the model has
// not, or no drafter at all.
std::shared_ptr<const Checkpoint> open_drafter(const std::filesystem::path& path, const Checkpoint& model);

// The same, bound to these weights of the model. Also throws Error if a tensor is missing.
std::shared_ptr<const DraftModel> load_draft_model(const std::filesystem::path& path, const Checkpoint& model,
                                                   const Weights& weights);

}  // namespace cachalot
