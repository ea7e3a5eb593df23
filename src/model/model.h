// A model that is ready to run: immutable, shared by everything that computes with it.
#pragma once

#include <filesystem>
#include <memory>

#include "model/checkpoint.h"
#include "model/draft_model.h"
#include "model/engram_hash.h"
#include "model/weights.h"

namespace cachalot {

struct Model {
    std::unique_ptr<const Checkpoint> checkpoint;  // owns the mapped files
    Config config;
    Weights weights;
    Tokenizer tokenizer;
    EngramHash engram_hash;                   // of a model with Engram tables
    std::shared_ptr<const DraftModel> draft;  // null: there is none

    // Opens a GGUF file or a release directory and binds every tensor. Maps, does not read: the time does not
    // depend on the size of the weights. Throws Error.
    // `engram`: see Checkpoint::open().
    static std::shared_ptr<const Model> load(const std::filesystem::path& path,
                                             const std::filesystem::path& engram = {});
};

}  // namespace cachalot
