// A model that is ready to run: immutable, shared by everything that computes with it.
#pragma once

#include <filesystem>
#include <memory>

#include "model/checkpoint.h"
#include "model/draft_model.h"
#include "model/engram_hash.h"
#include "model/weights.h"

namespace cachalot {

// Files beside that of a model.
struct ModelFiles {
    std::filesystem::path engram = {};   // see Checkpoint::open()
    std::filesystem::path drafter = {};  // see open_drafter(); it stands for the one that the model may have
};

struct Model {
    std::unique_ptr<const Checkpoint> checkpoint;  // owns the mapped files
    Config config;
    Weights weights;
    Tokenizer tokenizer;
    EngramHash engram_hash;                   // of a model with Engram tables
    std::shared_ptr<const DraftModel> draft;  // null: there is none

    // Opens a GGUF file or a release directory and binds every tensor. Maps, does not read: the time does not
    // depend on the size of the weights. Throws Error.
    static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                             const ModelFiles& beside = {});
};

}  // namespace cachalot
