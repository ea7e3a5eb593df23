// Fills an importance matrix from the passes of an engine.
//
// Collected are the inputs of every matrix that is multiplied with activations, under the name of its tensor:
// the dense ones for all tokens, those of routed experts for the tokens that chose them. Not collected are
// the token embedding, which has no input, and the small matrices of the hyper-connections, which nobody
// quantises.
//
// Two things that the format cannot say. The parts of attn_output_a read different heads; the format has one
// row of sums for the tensor, so they are added up. And what `down` is multiplied with here includes the
// router's weight, so an expert's rows count by what they contribute.
#pragma once

#include <map>
#include <vector>

#include "kernels/primitives.h"
#include "model/importance.h"
#include "model/model.h"

namespace cachalot {

class ImportanceCollector final : public ActivationObserver {
  public:
    // Adds to `into`, which gets an entry for every tensor at once, so that what is never seen is known to be
    // missing. Throws Error if it is from a model of other shapes. Both must outlive the collector.
    ImportanceCollector(const Model& model, ImportanceMatrix& into);

    void projected(const Projection& p, int rows) override;
    void entered(const ExpertsCall& call) override;
    void activated(const ExpertsCall& call, std::int32_t expert, const float* h, std::int64_t rows,
                   std::int64_t columns, std::int64_t stride) override;

  private:
    using Entry = ImportanceMatrix::Entry;
    struct Range {
        const std::byte* end;  // of the matrix's bytes
        Entry* entry;
    };
    struct Layer {
        Entry *gate, *up, *down;  // of the routed experts
        Entry *gate_shared, *up_shared, *down_shared;
    };

    void add(Entry& entry, std::int64_t expert, const float* x, std::int64_t rows, std::int64_t stride);

    std::map<const std::byte*, Range> dense_;       // by where a matrix begins
    std::map<const ExpertWeights*, Layer> layers_;  // by the weights of the shared expert
    std::vector<float> squares_;                    // scratch, [columns]
};

}  // namespace cachalot
