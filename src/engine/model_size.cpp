#include "engine/model_size.h"

#include <map>
#include <memory>

#include "experts/expert_records.h"
#include "experts/streaming_engram_store.h"
#include "model/type_plan.h"

namespace cachalot {
namespace {

// Bytes that are read, in whole blocks, for so many wherever they begin.
std::uint64_t read_anywhere(std::int64_t bytes) {
    if (bytes == 0) return 0;
    constexpr std::uint64_t kBlock = BlockReader::kBlock;
    return ((static_cast<std::uint64_t>(bytes) + kBlock - 2) / kBlock + 1) * kBlock;
}

}  // namespace

DrafterSize drafter_size(const Model& model) {
    if (!model.draft) return {};
    const DraftModel& draft = *model.draft;
    DrafterSize size{model.draft, 0};
    each_matrix(draft.config, draft.weights, [&](const TensorSpec& spec, const Matrix& m) {
        using Role = TensorSpec::Role;
        if (spec.role != Role::embedding && spec.role != Role::head)
            size.weights += static_cast<std::uint64_t>(m.bytes());
    });
    const DrafterWeights& parts = draft.parts;
    for (const Matrix* m : {&parts.input, &parts.markov_embedding, &parts.markov_head, &parts.embedding_input,
                            &parts.hidden_input})
        size.weights += static_cast<std::uint64_t>(m->bytes());
    return size;
}

ModelSize size_of(const Model& model) {
    ModelSize size{model.config, weight_bytes(model.config, model.weights),
                   token_cost(model.config, model.weights)};
    size.experts = ExpertRecords(model).header();
    size.drafter = drafter_size(model);
    if (model.config.engram.present()) {
        size.engram_buffers = StreamingEngramStore::buffer_bytes(model);
        size.smallest_engram_cache = StreamingEngramStore::smallest_cache(model);
    }
    return size;
}

ModelSize size_of(const Config& config, const TypeOf& type) {
    ModelSize size{config, weight_bytes(config, type), token_cost(config, type)};
    if (config.engram.present()) {
        size.engram_buffers = StreamingEngramStore::buffer_bytes(config.engram);
        size.smallest_engram_cache = StreamingEngramStore::smallest_cache(config.engram);
    }
    RouteHeader& experts = size.experts;
    experts.model = config.name;
    experts.layers = config.layers;
    experts.experts = config.experts;
    experts.top_k = config.experts_per_token;
    std::uint64_t all = 0;  // experts of a layer have three parts, which follow each other in the table
    int parts = 0;
    each_matrix(config, type, [&](const TensorSpec& spec, const Matrix& m) {
        if (spec.role != TensorSpec::Role::experts) return;
        all += read_anywhere(m.rows * m.stride) + read_anywhere(m.scale_rows() * m.scale_stride);
        if (++parts < 3 * config.experts) return;
        experts.expert_bytes.push_back(all / static_cast<std::uint64_t>(config.experts));
        all = 0;
        parts = 0;
    });
    return size;
}

TypeOf types_of(const Model& model) {
    auto types = std::make_shared<std::map<std::string, DType>>();
    each_matrix(model.config, model.weights,
                [&](const TensorSpec& spec, const Matrix& m) { (*types)[spec.gguf] = m.dtype; });
    return [types](const TensorSpec& spec) { return types->at(spec.gguf); };
}

TypeOf with_recipe(const std::string& recipe, const Config& config, TypeOf stored) {
    TypeOptions options;
    options.recipe = recipe;
    auto plan = std::make_shared<TypePlan>(options, config, config.name);
    return [plan, stored = std::move(stored)](const TensorSpec& spec) {
        return plan->target(spec, {stored(spec), spec.rows, spec.columns});
    };
}

}  // namespace cachalot
