// What a plan has to know of a model, whether its files are there or not.
#pragma once

#include "experts/route_trace.h"
#include "model/cost.h"
#include "model/model.h"

namespace cachalot {

// What a drafter takes beside its model.
struct DrafterSize {
    std::shared_ptr<const DraftModel> model;  // null: there is none
    std::uint64_t weights = 0;                // bytes of those that are not the model's
};
DrafterSize drafter_size(const Model& model);

struct ModelSize {
    Config config;
    WeightBytes weights;
    TokenCost token;
    std::uint64_t engram_buffers = 0;         // bytes through which rows of Engram tables are read from disk
    std::uint64_t smallest_engram_cache = 0;  // bytes
    RouteHeader experts = {};                 // with the bytes that an expert takes in a slot of the cache
    DrafterSize drafter = {};                 // of a model that is there
};

ModelSize size_of(const Model& model);

// Of a model of this shape, with matrices of these types. Slots are a little larger than those of a file are
// on average, as nothing is known of where its experts begin.
ModelSize size_of(const Config& config, const TypeOf& type);

// The types that a model's matrices have.
TypeOf types_of(const Model& model);

// Those that `convert --recipe` would make of them. Throws Error for an unknown recipe.
TypeOf with_recipe(const std::string& recipe, const Config& config, TypeOf stored);

}  // namespace cachalot
