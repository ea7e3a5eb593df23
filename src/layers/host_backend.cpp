#include "layers/host_backend.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

HyperConnectionParams HostBackend::mixing_of(const Config& c) {
    return {c.hidden_size, c.sinkhorn_iterations, c.hyper_connection_eps, c.norm_eps};
}

HostBackend::HostBackend(Primitives& primitives, const Config& config, const Weights& weights,
                         ExpertStore& store, EngramStore* engram, const std::shared_ptr<KvPool>& pool,
                         const LayerRange& range, Trace* trace, const DraftModel* drafter, int first_stage)
    : primitives_(primitives),
      config_(config),
      weights_(weights),
      store_(store),
      engram_(engram),
      pool_(pool),
      layout_(pool_->layout()),
      range_(range),
      trace_(trace),
      drafter_(drafter),
      first_stage_(first_stage),
      stream_(pool_->stream()),
      mixing_(mixing_of(config)),
      batch_(pool_->device()),
      rope_(config),
      a_(pool_->device()),
      replays_(pool_->device()->replays()) {}

PassOutput HostBackend::pass(const Batch& batch, const std::function<void()>& issue) {
    const Traced span(trace_, "pass");
    const auto n = static_cast<std::size_t>(batch.rows()), wanted = batch.wanted().size();
    const auto H = static_cast<std::size_t>(config_.hidden_size),
               vocab = static_cast<std::size_t>(config_.vocab_size);
    const auto streams = n * kStreams * H, boundary = static_cast<std::size_t>(boundary_floats(config_));
    const auto choices = static_cast<std::size_t>(config_.layers * config_.experts_per_token);
    PassOutput output;
    output.vocab = config_.vocab_size;
    output.experts = {a_.expert_ids.reserve(n * choices), n * choices};
    if (range_.head)
        output.logits = {a_.logits.reserve(wanted * vocab), wanted * vocab};
    else
        output.streams = {a_.last_streams.reserve(n * boundary), n * boundary};

    if (is_drafter()) output.collapsed = {a_.collapsed.reserve(wanted * H), wanted * H};
    if (engram_) engram_->begin_pass(batch);  // its reads are small and needed soon: before those of experts
    store_.begin_pass(batch);
    batch_.load(batch, stream_);
    // Between parts of a model: the streams of all rows, then the weights that the next sub-layer mixes with.
    auto copy = [&](float* to, const float* from, std::size_t count) {
        stream_.copy(reinterpret_cast<std::byte*>(to), reinterpret_cast<const std::byte*>(from),
                     count * sizeof(float));
    };
    const std::size_t weights = n * boundary - streams;
    if (!range_.embed) {
        copy(a_.streams.reserve(streams), batch.streams().data(), streams);
        copy(a_.delayed.reserve(weights), batch.streams().data() + streams, weights);
    }
    if (recorded_.empty()) {
        try {
            box("rope", -1, [this] { rope_.prepare(batch_.positions()); });
            issue();
        } catch (...) {  // half a pass is not to be replayed
            recorded_.clear();
            throw;
        }
    } else {
        for (const auto& work : recorded_) stream_.run(work);
    }
    if (!range_.head) {
        copy(a_.last_streams.address(), a_.streams.address(), streams);
        copy(a_.last_streams.address() + streams, a_.delayed.address(), weights);
    }
    stream_.synchronize();
    return output;
}

void HostBackend::embed() {
    box("embed", -1, [this] {
        primitives_.embed(weights_.embedding, batch_.tokens(),
                          room(a_.streams, kStreams * config_.hidden_size));
        if (float* weights = delayed())  // the first sub-layer reads the first stream
            for (std::int64_t r = 0; r < batch_.rows(); ++r)
                for (int j = 0; j < kStreams; ++j) weights[r * kStreams + j] = j == 0 ? 1.0f : 0.0f;
    });
}

void HostBackend::engram(int l) {
    if (config_.shape(l).engram < 0) return;
    box("engram", l, [this, l] {
        const EngramWeights& w = layer(l).engram;
        const auto size = static_cast<std::size_t>(config_.engram.input_size());
        engram_->read(config_.shape(l).engram,
                      {room(a_.engram_rows, config_.engram.input_size()), rows() * size});
        Projection kv = product(w.kv, a_.engram_rows, a_.engram_kv);  // [rows, input size] -> [rows, 5, H]
        primitives_.project({&kv, 1}, batch_.rows());
        primitives_.engram({config_.hidden_size, config_.norm_eps, w.q.data(), w.k.data()}, kv.y,
                           a_.streams.address(), batch_.rows());
    });
}

// y = weight x, for all rows.
Projection HostBackend::product(const Matrix& weight, const Buffer<float>& x, Buffer<float>& y) {
    return {&weight, x.address(), weight.columns, room(y, weight.rows), weight.rows};
}

float* HostBackend::delayed() { return config_.delayed_mixing ? room(a_.delayed, kStreams) : nullptr; }

// x = norm(mix(X)), and the weights with which the sub-layer's output will be spread.
void HostBackend::collapse(const MixWeights& mix, const std::vector<float>& norm) {
    primitives_.hyper_connection_pre(mix, mixing_, norm.data(), a_.streams.address(), batch_.rows(),
                                     room(a_.x, config_.hidden_size), room(a_.post, kStreams),
                                     room(a_.comb, kStreams * kStreams), delayed());
}

// X = spread(out, X)
void HostBackend::spread() {
    primitives_.hyper_connection_post(mixing_, a_.out.address(), a_.post.address(), a_.comb.address(),
                                      a_.streams.address(), batch_.rows());
}

std::int32_t* HostBackend::expert_ids(int layer) {
    return a_.expert_ids.address() +
           static_cast<std::size_t>(layer * config_.experts_per_token * batch_.all_rows());
}

void HostBackend::expert_input(int l) {
    box("expert_input", l, [this, l] {
        const Config& c = config_;
        const LayerWeights& w = layer(l);
        collapse(w.expert_mix, w.expert_norm);
        Projection router = product(w.router, a_.x, a_.router_logits);  // [rows, H] -> [rows, E]
        router.float_inputs = true;                                     // near ties are common
        primitives_.project({&router, 1}, batch_.rows());

        RouteCall route;
        route.rows = batch_.rows();
        route.logits = router.y;
        route.experts = c.experts;
        route.top_k = c.experts_per_token;
        route.bias = w.router_bias.empty() ? nullptr : w.router_bias.data();
        route.table = w.table.empty() ? nullptr : w.table.data();
        route.tokens = batch_.tokens().data();
        route.scale = c.routed_scale;
        route.ids = expert_ids(l);
        route.weights = room(a_.expert_weights, c.experts_per_token);
        primitives_.route(route);
    });
}

void HostBackend::experts(int l) {
    box("experts", l, [this, l] {
        if (engram_) engram_->proceed();
        const Config& c = config_;
        const auto index = static_cast<std::size_t>(l);
        ExpertsCall call;
        call.rows = batch_.rows();
        call.x = a_.x.address();
        call.y = room(a_.out, c.hidden_size);
        call.top_k = c.experts_per_token;
        call.ids = expert_ids(l);
        call.weights = a_.expert_weights.address();
        call.routed = &store_.layer(l);
        call.shared = &layer(l).shared;
        call.limit = c.swiglu_limit[index];
        call.shared_limit = c.swiglu_limit_shared[index];
        primitives_.experts(call);
        spread();
    });
    if (!observer_) return;
    box("observe", l, [this, l] {
        const auto streams = rows() * static_cast<std::size_t>(kStreams * config_.hidden_size);
        LayerView view{l, {a_.streams.address(), streams}, {}, {}};
        view.experts = {expert_ids(l), rows() * static_cast<std::size_t>(config_.experts_per_token)};
        if (config_.shape(l).indexer)
            view.selected = {a_.selected.address(), rows() * static_cast<std::size_t>(config_.index_top_k)};
        observer_(view);
    });
}

void HostBackend::head() {
    box("head", -1, [this] {
        const std::int64_t H = config_.hidden_size, row_size = kStreams * H;
        const int wanted = static_cast<int>(batch_.wanted().size());
        float *streams = a_.streams.address(), *mixed = delayed();
        for (std::int64_t to = 0; std::int32_t from : batch_.wanted()) {  // to the front
            if (from != to) std::copy_n(streams + from * row_size, row_size, streams + to * row_size);
            if (mixed && from != to) std::copy_n(mixed + from * kStreams, kStreams, mixed + to * kStreams);
            ++to;
        }
        float* x = room(a_.x, H);
        const auto collapse_with = [&](const float* norm) {
            primitives_.hyper_connection_head(weights_.head_mix, mixing_, norm, streams, wanted, x, mixed);
        };
        if (is_drafter()) {
            collapse_with(nullptr);
            std::copy_n(x, wanted * H, a_.collapsed.address());
            primitives_.rms_norm(x, weights_.norm.data(), config_.norm_eps, wanted, config_.hidden_size);
        } else {
            collapse_with(weights_.norm.data());
        }
        // [wanted, H] -> [wanted, vocab]
        Projection head{&weights_.head, a_.x.address(), H, a_.logits.address(), config_.vocab_size};
        primitives_.project({&head, 1}, wanted);
    });
}

void HostBackend::sample(int rows, const std::function<void(int row)>& choose) {
    primitives_.for_each(rows, choose);
}

}  // namespace cachalot
