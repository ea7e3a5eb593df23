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

#include "base/error.h"
#include "layers/attention.h"
#include "layers/experts.h"

namespace cachalot {
namespace {

// Moves the streams [4, H] of the rows whose logits are wanted to the front; returns how many there are.
int gather_head_rows(std::span<const Segment> segments, std::span<const BatchRows> rows, float* streams,
                     std::int64_t row_size) {
    int wanted = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        int first = segments[i].all_logits ? 0 : rows[i].count - 1;
        for (int r = first; r < rows[i].count; ++r, ++wanted)
            if (int from = rows[i].first + r; from != wanted)
                std::copy_n(streams + from * row_size, row_size, streams + wanted * row_size);
    }
    return wanted;
}

}  // namespace

std::span<float> forward(Backend& backend, const Config& c, const Weights& w, ExpertStore& store,
                         std::span<const Segment> segments, Workspace& ws, const LayerObserver& observer) {
    const Traced pass(ws.trace, "forward");
    // The batch: tokens [rows] and where each segment lies.
    std::vector<std::int32_t> tokens;
    std::vector<BatchRows> batch;
    bool prompt = false;
    for (const auto& s : segments) {
        CACHALOT_CHECK(!s.tokens.empty());
        prompt = prompt || s.tokens.size() > 1;
        batch.push_back(
            {s.state, static_cast<int>(tokens.size()), static_cast<int>(s.tokens.size()), s.state->length()});
        tokens.insert(tokens.end(), s.tokens.begin(), s.tokens.end());
    }
    const int rows = static_cast<int>(tokens.size());
    const std::int64_t H = c.hidden_size, n = rows;
    const HyperConnectionParams mixing{c.hidden_size, c.sinkhorn_iterations, c.hyper_connection_eps,
                                       c.norm_eps};

    float* streams = ws.streams.reserve(static_cast<std::size_t>(n * kStreams * H));   // [rows, 4, H]
    float* x = ws.x.reserve(static_cast<std::size_t>(n * H));                          // [rows, H]
    float* post = ws.post.reserve(static_cast<std::size_t>(n * kStreams));             // [rows, 4]
    float* comb = ws.comb.reserve(static_cast<std::size_t>(n * kStreams * kStreams));  // [rows, 4, 4]
    ws.rope.prepare(batch, rows);
    for (auto& s : batch) s.state->extend(s.count);
    store.begin_pass(tokens, prompt);

    backend.embed(w.embedding, tokens, streams);
    for (int l = 0; l < c.layers; ++l) {
        const LayerWeights& layer = w.layers[static_cast<std::size_t>(l)];
        const Traced span(ws.trace, "layer", l);

        backend.hyper_connection_pre(layer.attention_mix, mixing, layer.attention_norm.data(), streams, rows,
                                     x, post, comb);
        attention(backend, c, layer.attention, l, batch, rows, ws);
        backend.hyper_connection_post(mixing, ws.out.data(), post, comb, streams, rows);

        backend.hyper_connection_pre(layer.expert_mix, mixing, layer.expert_norm.data(), streams, rows, x,
                                     post, comb);
        mixture_of_experts(backend, c, layer, store, l, tokens, ws);
        backend.hyper_connection_post(mixing, ws.out.data(), post, comb, streams, rows);

        if (observer)
            observer(l, {streams, static_cast<std::size_t>(n * kStreams * H)},
                     {ws.expert_ids.data(), static_cast<std::size_t>(rows * c.experts_per_token)});
    }

    const int wanted = gather_head_rows(segments, batch, streams, kStreams * H);
    backend.hyper_connection_head(w.head_mix, mixing, w.norm.data(), streams, wanted, x);
    float* logits =
        ws.logits.reserve(static_cast<std::size_t>(wanted) * static_cast<std::size_t>(c.vocab_size));
    Projection head{&w.head, x, H, logits, c.vocab_size};  // [wanted, vocab]
    backend.project({&head, 1}, wanted);

    for (auto& s : batch) s.state->advance(s.count);
    return {logits, static_cast<std::size_t>(wanted) * static_cast<std::size_t>(c.vocab_size)};
}

}  // namespace cachalot
