// The page to start with. One pass, for any mixture of sequences:
//
//   tokens ─ embed ─► four residual streams X
//   for each layer:    x = norm(mix(X))     X = spread(attention(x), X)
//                      x = norm(mix(X))     X = spread(experts(x), X)
//   head:              logits = W norm(mix(X))
//
// mix and spread are the hyper-connections: learned, input-dependent weights with which a sub-layer reads the
// streams and writes back to them. Between layers nothing flows but X. A drafter, if there is one, is a small
// model of the same boxes; it reads what some layers of the model are given (tap, absorb), or the X behind
// the last one of the token before (carry, join). What each box computes, backend.h says; how,
// host_backend.cpp, host_attention.cpp and host_drafting.cpp.
#include "layers/forward.h"

#include <ranges>

namespace cachalot {

namespace {

PassOutput run(Backend& backend, const LayerRange& range, const Batch& batch) {
    return backend.pass(batch, [&] {
        if (range.embed) backend.embed();
        backend.join();
        for (int layer = range.first; layer < range.last; ++layer) {
            backend.engram(layer);
            backend.tap(layer);
            backend.attention_input(layer);
            backend.remember(layer);
            backend.leave_context(layer);
            backend.queries(layer);
            backend.choose(layer);
            backend.attend(layer);
            backend.attention_output(layer);

            backend.expert_input(layer);
            backend.experts(layer);
        }
        backend.tap(range.last);
        backend.absorb();
        backend.carry();
        if (range.head) backend.head();
    });
}

}  // namespace

PassOutput forward(Backend& backend, const LayerRange& range, const Batch& batch) {
    // Context is behind what follows it.
    const auto sequences = std::views::reverse(batch.sequences());
    for (const auto& s : sequences) s.state->extend(s.ahead + s.count);
    const PassOutput output = run(backend, range, batch);
    for (const auto& s : sequences) s.state->advance(batch.tokens_of(s), s.context);
    return output;
}

PassOutput draft(Backend& stages, const LayerRange& range, const Batch& batch) {
    return run(stages, range, batch);
}

}  // namespace cachalot
