// The model as boxes: what a processor has to be able to do, at the granularity at which it may fuse.
//
// forward.cpp issues all but the last in its order, those of a layer once for each layer. A backend is made
// for one model on one device: it knows the weights, owns the activations (layers/activations.h on the host),
// and finds everything that differs from pass to pass in the pass's Batch. So a box does not return anything,
// and nothing that the host computes flows between two boxes; a processor may record the boxes of a pass once
// and run the record again for other tokens of other sequences.
//
//     box               reads                       writes
//     embed             tokens                      X: the token's embedding, in each stream
//     engram            X, rows of tables           X, of the layers that have a table
//     attention_input   X                           x = norm(mix(X)); products of x: queries, latents,
//                                                   inputs of compressors, weights of the indexer
//     remember          latents, compressor inputs  the states: window rows, compressed rows, indexer keys
//     leave_context                                 from here on the batch is without its rows of context
//     queries           low-rank queries            queries of attention and indexer, normalised, rotated
//     choose            indexer queries, keys       the compressed rows that each query sees
//     attend            queries, states, choice     attended values, rotated back
//     attention_output  attended values             X = spread(output, X)
//     expert_input      X                           x = norm(mix(X)); the chosen experts and their weights
//     experts           x, choice                   X = spread(sum of the experts, X)
//     tap               X that enters a layer       the mean of its streams, for a drafter that reads it
//     absorb            those means, or tokens and  the states: window rows of the drafter's stages
//                       streams that were carried
//     carry             X                           the states: streams, of which an MTP block drafts
//     join              X, streams that were        X: what an MTP block begins with; of a drafter only
//                       carried
//     head              X of the wanted rows        logits
//
//     sample            logits                      tokens, chosen by the caller's rule; after the pass
//
// Activations are float32 in meaning. A result never depends on how many other rows are in the pass.
#pragma once

#include <functional>
#include <span>

#include "state/batch.h"

namespace cachalot {

// What a pass computed. Memory of the host, valid until the next pass of the same backend.
struct PassOutput {
    std::span<float> logits;  // [wanted rows, vocab]; empty if another process computes the head
    std::int64_t vocab = 0;
    // Where the head is computed elsewhere: [rows, 4, H] behind the last layer, and with delayed mixing
    // [rows, 4], the weights of the next mix (layer_range.h, boundary_floats).
    std::span<const float> streams;
    // Of a drafter: [wanted rows, H], what the head normalises.
    std::span<const float> collapsed;
    // [layers, rows, k] the chosen ones; of the layers that were computed, and for rows of context only of
    // those before Config::context_layers_end().
    std::span<const std::int32_t> experts;

    // [wanted rows of this sequence, vocab]
    std::span<float> of(const BatchRows& sequence) const {
        return logits.subspan(static_cast<std::size_t>(sequence.first_wanted * vocab),
                              static_cast<std::size_t>(sequence.wanted * vocab));
    }
};

// The activations behind a layer, for tests and traces.
struct LayerView {
    int layer;
    std::span<const float> streams;          // [rows, 4, H]
    std::span<const std::int32_t> experts;   // [rows, k]
    std::span<const std::int32_t> selected;  // [rows, index_top_k], see IndexCall; of layers with an indexer
};
using LayerObserver = std::function<void(const LayerView&)>;

class Backend {
  public:
    virtual ~Backend() = default;

    // Runs what issue() asks for, over the rows of `batch`, whose states have room for them. A device that
    // replays calls issue() in the first pass only; others call it in every pass. Returns when the results
    // are there. Throws what a box throws; then the rows of the states mean nothing.
    virtual PassOutput pass(const Batch& batch, const std::function<void()>& issue) = 0;

    virtual void embed() = 0;
    virtual void engram(int layer) = 0;
    virtual void tap(int layer) = 0;  // also of the layer behind the last one
    virtual void attention_input(int layer) = 0;
    virtual void remember(int layer) = 0;
    virtual void leave_context(int layer) = 0;
    virtual void queries(int layer) = 0;
    virtual void choose(int layer) = 0;
    virtual void attend(int layer) = 0;
    virtual void attention_output(int layer) = 0;
    virtual void expert_input(int layer) = 0;
    virtual void experts(int layer) = 0;
    virtual void absorb() = 0;
    virtual void carry() = 0;
    virtual void join() = 0;
    virtual void head() = 0;

    // Not a part of a pass: calls choose(row) for each of so many rows of logits, in any order and on any
    // thread.
    virtual void sample(int rows, const std::function<void(int row)>& choose) = 0;

    // From now on every layer is shown; a null observer ends that. For tests: passes take longer.
    virtual void observe(LayerObserver observer) = 0;
};

}  // namespace cachalot
