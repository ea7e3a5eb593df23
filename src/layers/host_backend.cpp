#include "layers/host_backend.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

HostBackend::HostBackend(Primitives& primitives, const Config& config, const Weights& weights,
                         ExpertStore& store, const std::shared_ptr<KvPool>& pool, const LayerRange& range,
                         Trace* trace)
    : primitives_(primitives),
      config_(config),
      weights_(weights),
      store_(store),
      pool_(pool),
      layout_(pool_->layout()),
      range_(range),
      trace_(trace),
      stream_(pool_->stream()),
      mixing_{config.hidden_size, config.sinkhorn_iterations, config.hyper_connection_eps, config.norm_eps},
      batch_(pool_->device()),
      rope_(config),
      a_(pool_->device()),
      replays_(pool_->device()->replays()) {
    if (config.is_v41()) fail("{}: models of DeepSeek V4.1 are read, but not computed with yet", config.name);
}

PassOutput HostBackend::pass(const Batch& batch, const std::function<void()>& issue) {
    const Traced span(trace_, "pass");
    const auto n = static_cast<std::size_t>(batch.rows()), wanted = batch.wanted().size();
    const auto H = static_cast<std::size_t>(config_.hidden_size),
               vocab = static_cast<std::size_t>(config_.vocab_size);
    const auto choices = static_cast<std::size_t>(config_.layers * config_.experts_per_token);
    PassOutput output;
    output.vocab = config_.vocab_size;
    output.experts = {a_.expert_ids.reserve(n * choices), n * choices};
    if (range_.head)
        output.logits = {a_.logits.reserve(wanted * vocab), wanted * vocab};
    else
        output.streams = {a_.last_streams.reserve(n * kStreams * H), n * kStreams * H};

    store_.begin_pass(batch);
    batch_.load(batch, stream_);
    if (!range_.embed) {
        stream_.copy(reinterpret_cast<std::byte*>(a_.streams.reserve(n * kStreams * H)),
                     reinterpret_cast<const std::byte*>(batch.streams().data()),
                     batch.streams().size_bytes());
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
    if (!range_.head)
        stream_.copy(reinterpret_cast<std::byte*>(a_.last_streams.address()),
                     reinterpret_cast<const std::byte*>(a_.streams.address()), output.streams.size_bytes());
    stream_.synchronize();
    return output;
}

void HostBackend::embed() {
    box("embed", -1, [this] {
        primitives_.embed(weights_.embedding, batch_.tokens(),
                          room(a_.streams, kStreams * config_.hidden_size));
    });
}

// y = weight x, for all rows.
Projection HostBackend::product(const Matrix& weight, const Buffer<float>& x, Buffer<float>& y) {
    return {&weight, x.address(), weight.columns, room(y, weight.rows), weight.rows};
}

// x = norm(mix(X)), and the weights with which the sub-layer's output will be spread.
void HostBackend::collapse(const MixWeights& mix, const std::vector<float>& norm) {
    primitives_.hyper_connection_pre(mix, mixing_, norm.data(), a_.streams.address(), batch_.rows(),
                                     room(a_.x, config_.hidden_size), room(a_.post, kStreams),
                                     room(a_.comb, kStreams * kStreams));
}

// X = spread(out, X)
void HostBackend::spread() {
    primitives_.hyper_connection_post(mixing_, a_.out.address(), a_.post.address(), a_.comb.address(),
                                      a_.streams.address(), batch_.rows());
}

std::int32_t* HostBackend::expert_ids(int layer) {
    return a_.expert_ids.address() + static_cast<std::size_t>(layer * config_.experts_per_token) * rows();
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
        observer_(l, {a_.streams.address(), streams},
                  {expert_ids(l), rows() * static_cast<std::size_t>(config_.experts_per_token)});
    });
}

void HostBackend::head() {
    box("head", -1, [this] {
        const std::int64_t H = config_.hidden_size, row_size = kStreams * H;
        const int wanted = static_cast<int>(batch_.wanted().size());
        float* streams = a_.streams.address();
        for (std::int64_t to = 0; std::int32_t from : batch_.wanted()) {  // to the front
            if (from != to) std::copy_n(streams + from * row_size, row_size, streams + to * row_size);
            ++to;
        }
        primitives_.hyper_connection_head(weights_.head_mix, mixing_, weights_.norm.data(), streams, wanted,
                                          room(a_.x, H));
        // [wanted, H] -> [wanted, vocab]
        Projection head{&weights_.head, a_.x.address(), H, a_.logits.address(), config_.vocab_size};
        primitives_.project({&head, 1}, wanted);
    });
}

void HostBackend::sample(int rows, const std::function<void(int row)>& choose) {
    primitives_.for_each(rows, choose);
}

}  // namespace cachalot
