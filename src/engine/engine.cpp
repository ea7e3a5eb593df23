#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/tracing_backend.h"

namespace cachalot {
namespace {

EngineOptions checked(EngineOptions o, const Config& config) {
    if (o.threads < 0 || o.threads > 1024) fail("threads: {} is out of range (0 to 1024)", o.threads);
    if (o.chunk < 1 || o.chunk > 65536) fail("chunk: {} is out of range (1 to 65536)", o.chunk);
    if (o.context == 0) o.context = config.context_length;
    if (o.context < 1 || o.context > config.context_length)
        fail("context: {} is out of range (the model was trained for {} tokens)", o.context,
             config.context_length);
    return o;
}

}  // namespace

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options)
    : model_(std::move(model)),
      options_(checked(options, model_->config)),
      backend_(make_cpu_backend({options_.threads, options_.precision, options_.isa})),
      experts_(model_->weights),
      workspace_(model_->config) {
    if (!options_.trace) return;
    backend_ = make_tracing_backend(std::move(backend_), *options_.trace);
    workspace_.trace = options_.trace;
}

std::span<float> Engine::step(std::span<const Segment> segments) {
    for (const auto& s : segments) {
        auto length = s.state->length() + static_cast<std::int64_t>(s.tokens.size());
        if (length > options_.context)
            fail("the context is full: {} tokens, the limit is {}", length, options_.context);
        for (auto token : s.tokens)
            if (token < 0 || token >= model_->config.vocab_size)
                fail("token {} is out of range (the vocabulary has {})", token, model_->config.vocab_size);
    }
    return forward(*backend_, model_->config, model_->weights, experts_, segments, workspace_, observer_);
}

std::span<float> Engine::prefill(KvState& state, std::span<const std::int32_t> tokens,
                                 const Progress& progress) {
    if (auto length = state.length() + static_cast<std::int64_t>(tokens.size()); length > options_.context)
        fail("the prompt has {} tokens, the context holds {}", length, options_.context);
    std::span<float> logits;
    for (std::size_t done = 0; done < tokens.size();) {
        auto count = std::min<std::size_t>(static_cast<std::size_t>(options_.chunk), tokens.size() - done);
        Segment segment{&state, tokens.subspan(done, count)};
        logits = step({&segment, 1});
        done += count;
        if (progress && !progress(static_cast<std::int64_t>(done))) return {};
    }
    return logits;
}

}  // namespace cachalot
