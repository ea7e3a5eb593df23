// The page to start with. One pass, for any mixture of sequences:
//
//   tokens ─ embed ─► four residual streams X
//   for each layer:    x = norm(mix(X))     X = spread(attention(x), X)
//                      x = norm(mix(X))     X = spread(experts(x), X)
//   head:              logits = W norm(mix(X))
//
// mix and spread are the hyper-connections: learned, input-dependent weights with which a sub-layer reads the streams
// and writes back to them. Between layers nothing flows but X.
#include "layers/forward.h"

#include <algorithm>

#include "layers/attention.h"
#include "layers/experts.h"

namespace cachalot {
namespace {

// Moves the streams [4, H] of the rows whose logits are wanted to the front.
void gather(std::span<const std::int32_t> wanted, float* streams, std::int64_t row_size) {
    for (std::int64_t to = 0; std::int32_t from : wanted) {
        if (from != to) std::copy_n(streams + from * row_size, row_size, streams + to * row_size);
        ++to;
    }
}

}  // namespace

PassOutput forward(Backend& backend, const Config& c, const Weights& w, ExpertStore& store,
                   const Batch& batch, Workspace& ws, const LayerObserver& observer) {
    const Traced pass(ws.trace, "forward");
    const int rows = batch.rows();
    const std::int64_t H = c.hidden_size, n = rows, vocab = c.vocab_size;
    const HyperConnectionParams mixing{c.hidden_size, c.sinkhorn_iterations, c.hyper_connection_eps,
                                       c.norm_eps};

    float* streams = ws.streams.reserve(static_cast<std::size_t>(n * kStreams * H));   // [rows, 4, H]
    float* x = ws.x.reserve(static_cast<std::size_t>(n * H));                          // [rows, H]
    float* post = ws.post.reserve(static_cast<std::size_t>(n * kStreams));             // [rows, 4]
    float* comb = ws.comb.reserve(static_cast<std::size_t>(n * kStreams * kStreams));  // [rows, 4, 4]
    ws.rope.prepare(batch.positions());
    for (const auto& s : batch.sequences()) s.state->extend(s.count);
    store.begin_pass(batch);

    backend.embed(w.embedding, batch.tokens(), streams);
    for (int l = 0; l < c.layers; ++l) {
        const LayerWeights& layer = w.layers[static_cast<std::size_t>(l)];
        const Traced span(ws.trace, "layer", l);

        backend.hyper_connection_pre(layer.attention_mix, mixing, layer.attention_norm.data(), streams, rows,
                                     x, post, comb);
        attention(backend, c, layer.attention, l, batch, ws);
        backend.hyper_connection_post(mixing, ws.out.data(), post, comb, streams, rows);

        backend.hyper_connection_pre(layer.expert_mix, mixing, layer.expert_norm.data(), streams, rows, x,
                                     post, comb);
        mixture_of_experts(backend, c, layer, store, l, batch.tokens(), ws);
        backend.hyper_connection_post(mixing, ws.out.data(), post, comb, streams, rows);

        if (observer)
            observer(l, {streams, static_cast<std::size_t>(n * kStreams * H)},
                     {ws.expert_ids.data(), static_cast<std::size_t>(rows * c.experts_per_token)});
    }

    const int wanted = static_cast<int>(batch.wanted().size());
    gather(batch.wanted(), streams, kStreams * H);
    backend.hyper_connection_head(w.head_mix, mixing, w.norm.data(), streams, wanted, x);
    const auto size = static_cast<std::size_t>(wanted * vocab);
    float* logits = ws.logits.reserve(size);  // [wanted, vocab]
    Projection head{&w.head, x, H, logits, vocab};
    backend.project({&head, 1}, wanted);

    for (const auto& s : batch.sequences()) s.state->advance(s.count);
    return {{logits, size}, vocab};
}

}  // namespace cachalot
