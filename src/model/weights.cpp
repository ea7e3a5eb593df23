#include "model/weights.h"

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/model_tensors.h"
#include "model/part_tensors.h"

namespace cachalot {
namespace {

// Binds one tensor of the table to each kind of member.
struct Bind {
    const Checkpoint& source;
    const TensorSpec& spec;

    void operator()(Matrix* matrix) const { *matrix = stored_matrix(source, spec); }

    void operator()(const SlicedMember& member) const {
        const Matrix whole = source.matrix(spec.gguf, spec.rows, spec.columns);
        const std::int64_t rows = spec.rows / member.count;
        // An FP8 matrix can only be cut where its blocks are.
        if (whole.dtype == DType::f8_e4m3 && rows % whole.fp8_block != 0)
            fail("{}: tensor {}: {} rows of a slice are not a multiple of the FP8 block {}", source.source(),
                 spec.gguf, rows, whole.fp8_block);
        for (int i = 0; i < member.count; ++i) member.slices->push_back(whole.slice(i * rows, rows));
    }

    void operator()(const ExpertMember& member) const {
        member.experts->resize(static_cast<std::size_t>(spec.experts));
        for (int e = 0; e < spec.experts; ++e)
            (*member.experts)[static_cast<std::size_t>(e)].*member.matrix =
                source.expert(spec.gguf, e, spec.experts, spec.rows, spec.columns);
    }

    void operator()(EngramTable* table) const { *table = source.table(spec.gguf, spec.rows, spec.columns); }

    void operator()(std::vector<float>* floats) const {
        *floats = source.floats(spec.gguf, spec.rows, spec.columns);
    }

    // The only integers are the numbers of experts by token.
    void operator()(std::vector<std::int32_t>* table) const {
        *table = source.integers(spec.gguf, spec.rows, spec.columns);
        for (std::size_t i = 0; i < table->size(); ++i)
            if (const auto expert = (*table)[i]; expert < 0 || expert >= source.config().experts)
                fail("{}: tensor {}, token {}: there is no expert {}", source.source(), spec.gguf,
                     i / static_cast<std::size_t>(spec.columns), expert);
    }
};

}  // namespace

Weights bind_weights(const Checkpoint& checkpoint) {
    Weights weights;
    weights.layers.resize(static_cast<std::size_t>(checkpoint.config().layers));
    for (const TensorSpec& spec : model_tensors(checkpoint.config()))
        std::visit(Bind{checkpoint, spec}, spec.member(weights));
    return weights;
}

void bind_drafter(const Checkpoint& checkpoint, Weights& weights) {
    weights.drafter.stages.resize(static_cast<std::size_t>(drafter_stages(checkpoint.config()).layers));
    for (const TensorSpec& spec : drafter_tensors(checkpoint.config()))
        std::visit(Bind{checkpoint, spec}, spec.member(weights));
}

}  // namespace cachalot
