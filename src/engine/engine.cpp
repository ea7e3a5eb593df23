#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"
#include "experts/streaming_engram_store.h"
#include "experts/streaming_expert_store.h"
#include "file/shared_queue.h"
#include "kernels/observing_primitives.h"
#include "kernels/tracing_primitives.h"
#include "layers/host_backend.h"

namespace cachalot {
namespace {

void check_decoder_prefill(const EngineOptions& o, const Config& config) {
    if (o.decoder_prefill == 0) return;
    const int end = config.context_layers_end();
    if (o.decoder_prefill < 1) fail("decoder-prefill: {} is out of range", o.decoder_prefill);
    if (end == config.layers)
        fail("decoder-prefill: every layer of this model reads rows of its own, so none can be left out");
    if (!config.engram.layers.empty() && config.engram.layers.back() > end)
        fail("decoder-prefill: layer {} of this model has an Engram table, and layers behind {} are left out",
             config.engram.layers.back(), end);
    if (o.layers && *o.layers != all_layers(config))
        fail("decoder-prefill: not supported for a part of the layers");
    if (!o.route_trace.empty()) fail("decoder-prefill: a trace of routes needs all layers of all tokens");
}

EngineOptions checked(EngineOptions o, const Model& model) {
    const Config& config = model.config;
    if (o.threads < 0 || o.threads > 1024) fail("threads: {} is out of range (0 to 1024)", o.threads);
    if (o.layers) o.layers = layer_range(config, o.layers->first, o.layers->last);
    if (o.chunk < 1 || o.chunk > 65536) fail("chunk: {} is out of range (1 to 65536)", o.chunk);
    if (o.context == 0) o.context = config.context_length;
    if (o.context < 1 || o.context > config.context_length)
        fail("context: {} is out of range (the model was trained for {} tokens)", o.context,
             config.context_length);
    check_decoder_prefill(o, config);
    if (o.drafter && !model.draft) fail("the model has no drafter");
    if (o.drafter && o.layers != std::nullopt && *o.layers != all_layers(config))
        fail("a drafter: not supported for a part of the layers");
    if (o.engram_cache && !config.engram.present()) fail("a cache of Engram rows: the model has no tables");
    return o;
}

std::unique_ptr<ExpertStore> make_expert_store(const Model& model, const EngineOptions& options,
                                               std::unique_ptr<ReadQueue> queue) {
    if (!options.expert_cache) return std::make_unique<ResidentExpertStore>(model.weights);
    const int slots = options.expert_cache->slots(ExpertRecords(model).header());
    return std::make_unique<StreamingExpertStore>(model, slots, std::move(queue), options.expert_heat,
                                                  options.expert_packs, options.log);
}

std::unique_ptr<EngramStore> make_engram_store(const Model& model, const EngineOptions& options,
                                               std::unique_ptr<ReadQueue> queue) {
    if (!model.config.engram.present()) return nullptr;
    if (!options.engram_cache)
        return std::make_unique<MappedEngramStore>(model.config, model.weights, model.engram_hash);
    const LayerRange range = checked(options, model).layers.value_or(all_layers(model.config));
    return std::make_unique<StreamingEngramStore>(model, range, *options.engram_cache, std::move(queue));
}

// Both read through one queue, which knows what is most urgent.
EngineStores make_stores(const Model& model, const EngineOptions& options) {
    if (!options.expert_cache && !options.engram_cache)
        return {make_expert_store(model, options, nullptr), make_engram_store(model, options, nullptr)};
    auto queues = share_queue(make_read_queue(options.log), 2);
    return {make_expert_store(model, options, std::move(queues[0])),
            make_engram_store(model, options, std::move(queues[1]))};
}

std::unique_ptr<Primitives> make_primitives(const EngineOptions& options) {
    auto primitives = make_cpu_primitives({options.threads, options.precision, options.isa, options.numa});
    if (options.observer) primitives = make_observing_primitives(std::move(primitives), *options.observer);
    if (options.trace) primitives = make_tracing_primitives(std::move(primitives), *options.trace);
    return primitives;
}

}  // namespace

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options)
    : Engine(model, options, make_stores(*model, options)) {}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options,
               std::unique_ptr<ExpertStore> experts)
    : Engine(model, options,
             EngineStores{std::move(experts),
                          make_engram_store(*model, options,
                                            options.engram_cache ? make_read_queue(options.log) : nullptr)}) {
}

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options, EngineStores stores)
    : model_(std::move(model)),
      watch_(std::make_unique<ChangeWatch>(model_->checkpoint->files(), options.log)),
      options_(checked(options, *model_)),
      range_(options_.layers.value_or(all_layers(model_->config))),
      primitives_(make_primitives(options_)),
      stores_(std::move(stores)),
      kv_pool_(std::make_shared<KvPool>(
          KvLayout(model_->config, options_.kv, range_, options_.drafter ? model_->draft.get() : nullptr),
          options_.device ? options_.device : make_host_device())),
      backend_(std::make_unique<HostBackend>(*primitives_, model_->config, model_->weights, *stores_.experts,
                                             stores_.engram.get(), kv_pool_, range_, options_.trace,
                                             options_.drafter ? model_->draft.get() : nullptr)) {
    if (options_.drafter) {
        const DraftModel& drafter = *model_->draft;
        if (!drafter.files().empty())
            draft_watch_ = std::make_unique<ChangeWatch>(drafter.files(), options_.log);
        if (!stores_.draft_experts)
            stores_.draft_experts = std::make_unique<ResidentExpertStore>(drafter.weights);
        draft_backend_ = std::make_unique<HostBackend>(
            *primitives_, drafter.config, drafter.weights, *stores_.draft_experts, nullptr, kv_pool_,
            all_layers(drafter.config), options_.trace, &drafter, model_->config.layers);
    }
    if (!options_.route_trace.empty())
        recorder_ = std::make_unique<RouteRecorder>(options_.route_trace, ExpertRecords(*model_).header());
}

std::string Engine::problem() const {
    auto problem = watch_->problem();
    return problem.empty() && draft_watch_ ? draft_watch_->problem() : problem;
}

void Engine::check_files() const {
    watch_->check();
    if (draft_watch_) draft_watch_->check();
}

PassOutput Engine::draft(const Batch& batch) {
    CACHALOT_CHECK(draft_backend_);
    check_files();
    const PassOutput output = cachalot::draft(*draft_backend_, all_layers(model_->draft->config), batch);
    check_files();
    return output;
}

void Engine::expect(std::vector<std::int32_t> tokens) {
    std::erase_if(tokens, [&](std::int32_t t) { return t < 0 || t >= model_->config.vocab_size; });
    stores_.experts->expect(tokens);
}

PassOutput Engine::step(const Batch& batch) {
    check_files();  // what is missing of a mapped file would end the program when it is touched
    for (const auto& s : batch.sequences()) {
        if (s.start + s.count > options_.context)
            fail("the context is full: {} tokens, the limit is {}", s.start + s.count, options_.context);
        if (!s.state->intact()) fail("the state of this sequence was lost in a pass that failed");
    }
    const auto streams = range_.embed ? std::size_t{0}
                                      : static_cast<std::size_t>(batch.rows()) *
                                            static_cast<std::size_t>(boundary_floats(model_->config));
    if (batch.streams().size() != streams)
        fail("layers from {} on begin with residual streams of {} numbers for {} rows, not of {}",
             range_.first, streams, batch.rows(), batch.streams().size());
    for (auto token : batch.tokens())
        if (token < 0 || token >= model_->config.vocab_size)
            fail("token {} is out of range (the vocabulary has {})", token, model_->config.vocab_size);
    if (recorder_) recorder_->begin(batch);
    const PassOutput output = forward(*backend_, range_, batch);
    check_files();
    if (!recorder_) return output;
    const auto choices = static_cast<std::size_t>(batch.rows() * model_->config.experts_per_token);
    for (int layer = range_.first; layer < range_.last; ++layer)
        recorder_->layer(layer, output.experts.subspan(static_cast<std::size_t>(layer) * choices, choices));
    recorder_->commit();
    return output;
}

std::span<float> Engine::step(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind,
                              Batch::Logits wanted) {
    Batch batch;
    batch.add(state, tokens, kind, wanted);
    return step(batch).logits;
}

std::size_t Engine::context_rows(const KvState& state, std::size_t left) const {
    const auto whole = static_cast<std::size_t>(options_.decoder_prefill);
    // Where context ends does not depend on the passes in which it is read.
    const bool begun = state.context_end() > 0 && state.context_end() == state.length();
    const std::size_t least = begun ? 1 : 64;
    return whole && left >= whole + least ? left - whole : 0;
}

std::span<float> Engine::prefill(KvState& state, std::span<const std::int32_t> tokens,
                                 const Progress& progress) {
    if (auto length = state.length() + static_cast<std::int64_t>(tokens.size()); length > options_.context)
        fail("the prompt has {} tokens, the context holds {}", length, options_.context);
    std::span<float> logits;
    for (std::size_t done = 0; done < tokens.size();) {
        const std::size_t left = tokens.size() - done, context = context_rows(state, left);
        const auto count = std::min(static_cast<std::size_t>(options_.chunk), context ? context : left);
        Batch batch;
        if (context)
            batch.add_context(state, tokens.subspan(done, count));
        else
            batch.add(state, tokens.subspan(done, count), RowsKind::prompt);
        logits = step(batch).logits;
        done += count;
        if (progress && !progress(static_cast<std::int64_t>(done))) return {};
    }
    return logits;
}

}  // namespace cachalot
