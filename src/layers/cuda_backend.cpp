#include "layers/cuda_backend.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/cuda/attend.h"
#include "kernels/cuda/attend_split.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/mix.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/stream_experts.h"
#include "kernels/cuda/stream_product.h"
#include "layers/make_cuda_backend.h"
#include "layers/rope.h"

namespace cachalot {
namespace {

constexpr int kMostRecordedRows = 64;
// Passes of so many rows stream weights; a few rows at a time, since activations lie in shared memory.
constexpr int kMostStreamedRows = 16, kStreamedTogether = cuda::kMostStreamedTogether;
constexpr int kMostRows = 32768;  // a grid has at most 65535 blocks in two of its directions

// Tokens that a sequence may have in passes of the same class. There are few, since each is another graph.
std::int64_t depth_class(std::int64_t tokens) {
    for (const std::int64_t most : {std::int64_t(2) << 10, std::int64_t(16) << 10, std::int64_t(128) << 10})
        if (tokens <= most) return most;
    return std::max<std::int64_t>(std::int64_t(1) << 20, tokens);
}

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

void check_cuda_model(const Config& c, const LayerRange& range) {
    constexpr const char* kRemedy = "use --device cpu";
    if (c.is_v41()) fail("models of V4.1 are not computed on cards yet; {}", kRemedy);
    if (range != all_layers(c)) fail("a part of the layers is not computed on cards yet; {}", kRemedy);
    const auto limit = [&](const char* what, int value, int most) {
        if (value > most)
            fail("cards compute models with at most {} {}, not {}; {}", most, what, value, kRemedy);
    };
    limit("experts in a layer", c.experts, cuda::kMostExperts);
    limit("experts for a token", c.experts_per_token, cuda::kMostChoices);
    limit("numbers in a latent", c.head_dim, cuda::kMostHeadDim);
    limit("groups of heads", c.output_groups, static_cast<int>(cuda::kMostProjections));
}

std::unique_ptr<Backend> make_cuda_backend(Primitives& host, const Config& config, const Weights& weights,
                                           const std::shared_ptr<KvPool>& pool, Precision precision,
                                           Trace* trace) {
    return std::make_unique<CudaBackend>(host, config, weights, pool, precision, trace);
}

CudaBackend::CudaBackend(Primitives& host, const Config& config, const Weights& weights,
                         const std::shared_ptr<KvPool>& pool, Precision precision, Trace* trace)
    : host_(host),
      config_(config),
      weights_(weights),
      pool_(pool),
      card_(*card_of(*pool->device())),
      precision_(precision),
      trace_(trace),
      stream_(pool_->stream()),
      on_card_(weights, pool_->device(), stream_),
      frequencies_(pool_->device()),
      batch_(pool_->device()),
      a_(pool_->device()) {
    std::vector<float> both;
    for (const bool compressed : {false, true})
        for (const float f : rope_frequencies(config.rope, config.rope_dim, compressed)) both.push_back(f);
    stream_.copy(reinterpret_cast<std::byte*>(frequencies_.reserve(both.size())),
                 reinterpret_cast<const std::byte*>(both.data()), both.size() * sizeof(float));
    stream_.synchronize();
}

const float* CudaBackend::frequencies(bool compressed) const {
    return frequencies_.address() + (compressed ? config_.rope_dim / 2 : 0);
}

bool CudaBackend::rounds_inputs() const {
    return precision_ == Precision::fast && rows() <= kMostStreamedRows;
}

// attend_split() has not been seen to pass its tests on a card (docs/gpu.md).
bool CudaBackend::splits_attention() const { return false; }

RotaryView CudaBackend::rotary(bool compressed) const {
    return {a_.cosine[compressed].address(), a_.sine[compressed].address(), config_.rope_dim / 2};
}

std::int32_t* CudaBackend::expert_ids(int l) const {
    return a_.expert_ids.address() + std::int64_t(l) * rows() * config_.experts_per_token;
}

// Memory for the activations of a pass of this batch, which is loaded.
void CudaBackend::make_room() {
    const Config& c = config_;
    const std::int64_t n = rows(), H = c.hidden_size, half = c.rope_dim / 2,
                       wanted = batch_.view().wanted_rows;
    bool moved = false;
    const auto room = [&](auto& buffer, std::int64_t count) {
        const auto* before = buffer.address();
        moved |= buffer.reserve(size(count)) != before;
    };
    std::int64_t pool = 0, index_pool = 0, visible = 0;
    for (const LayerWeights& w : weights_.layers) {
        pool = std::max(pool, w.attention.compressor.kv.rows);
        index_pool = std::max(index_pool, w.attention.indexer.compressor.kv.rows);
    }
    for (const LayerShape& shape : c.layer_shapes)
        if (shape.indexer) visible = std::max(visible, depth_ / shape.ratio);
    for (int table = 0; table < 2; ++table) {
        room(a_.cosine[table], n * half);
        room(a_.sine[table], n * half);
    }
    room(a_.streams, n * kStreams * H);
    room(a_.x, n * H);
    room(a_.out, n * H);
    room(a_.dots, n * cuda::MixCall::kDots);
    room(a_.post, n * kStreams);
    room(a_.comb, n * kStreams * kStreams);
    room(a_.q_low, n * c.q_lora_rank);
    room(a_.q, n * c.heads * c.head_dim);
    room(a_.attended, n * c.heads * c.head_dim);
    room(a_.kv, n * c.head_dim);
    room(a_.output_low, n * c.output_groups * c.output_lora_rank);
    room(a_.pool_kv, n * pool);
    room(a_.pool_gate, n * pool);
    room(a_.index_kv, n * index_pool);
    room(a_.index_gate, n * index_pool);
    room(a_.index_q, n * c.index_heads * c.index_head_dim);
    room(a_.index_weights, n * c.index_heads);
    if (visible > c.index_top_k) room(a_.scores, n * visible);
    if (splits_attention()) {
        std::int64_t parts = 0;
        for (int l = 0; l < c.layers; ++l) parts = std::max(parts, cuda::parts_of_keys(most_keys(l)));
        room(a_.attend_parts, n * c.heads * parts * (c.head_dim + 2));
    }
    room(a_.selected, n * c.index_top_k);
    room(a_.router_logits, n * c.experts);
    room(a_.expert_weights, n * c.experts_per_token);
    room(a_.expert_inner, n * (c.experts_per_token + 1) * c.expert_hidden_size);
    room(a_.expert_ids, c.layers * n * c.experts_per_token);
    room(a_.logits, wanted * c.vocab_size);
    if (moved) graphs_.clear();
}

// The batch on the card, and memory for what is computed of it.
void CudaBackend::prepare(const Batch& batch) {
    if (batch.rows() > kMostRows)
        fail("a pass of {} rows: on cards at most {} are possible, see --chunk", batch.rows(), kMostRows);
    int longest = 0;
    for (const BatchRows& s : batch.sequences()) longest = std::max(longest, s.count);
    const std::int64_t scratch = scratch_bytes(longest);
    std::byte* memory = scratch ? a_.scratch.reserve(size(scratch) * batch.sequences().size()) : nullptr;
    if (batch_.load(batch, stream_, memory, scratch)) graphs_.clear();
}

PassOutput CudaBackend::pass(const Batch& batch, const std::function<void()>& issue) {
    const Traced span(trace_, "pass");
    prepare(batch);
    const bool records = !trace_ && !observer_ && batch_.only_decodes() && rows() <= kMostRecordedRows;
    depth_ = records ? depth_class(batch_.deepest()) : batch_.deepest();
    make_room();
    const auto everything = [&] {
        const std::int64_t half = config_.rope_dim / 2;
        const auto table = [&](bool compressed) {
            return cuda::RotaryTable{frequencies(compressed), a_.cosine[compressed].address(),
                                     a_.sine[compressed].address()};
        };
        box("rope", -1, [&] {
            cuda::rotary_tables(batch_.view(), table(false), table(true), static_cast<int>(half), handle());
        });
        issue();
    };
    if (records) {
        const GraphKey key{rows(), depth_};
        auto recorded = graphs_.find(key);
        if (recorded == graphs_.end()) recorded = graphs_.try_emplace(key, stream_, everything).first;
        recorded->second.launch(stream_);
    } else {
        everything();
    }
    PassOutput output;
    output.vocab = config_.vocab_size;
    const auto fetch = [&]<class T>(const Buffer<T>& from, Buffer<T>& to, std::size_t count) {
        T* here = to.reserve(count);
        stream_.copy(reinterpret_cast<std::byte*>(here), reinterpret_cast<const std::byte*>(from.address()),
                     count * sizeof(T));
        return std::span<T>(here, count);
    };
    output.logits = fetch(a_.logits, a_.logits_here, batch.wanted().size() * size(config_.vocab_size));
    output.experts = fetch(a_.expert_ids, a_.expert_ids_here,
                           size(std::int64_t(config_.layers) * rows() * config_.experts_per_token));
    stream_.synchronize();
    return output;
}

void CudaBackend::project(std::span<const Projection> projections, int rows) {
    std::vector<Projection> on_card(projections.begin(), projections.end());
    std::vector<Matrix> matrices;
    matrices.reserve(on_card.size());
    for (Projection& p : on_card) {
        p.weight = &matrices.emplace_back(on_card_.matrix(*p.weight));
        p.float_inputs |= precision_ == Precision::exact;
    }
    if (!rounds_inputs() || !cuda::can_stream(on_card, std::min(rows, kStreamedTogether), card_))
        return cuda::project(on_card, rows, on_card_.grids(), handle());
    for (int first = 0; first < rows; first += kStreamedTogether) {
        cuda::project_streamed(on_card, std::min(kStreamedTogether, rows - first), card_, handle());
        for (Projection& p : on_card) {
            p.x += kStreamedTogether * p.x_stride;
            p.y += kStreamedTogether * p.y_stride;
        }
    }
}

void CudaBackend::embed() {
    box("embed", -1, [&] {
        cuda::embed(batch_.view(), on_card_.matrix(weights_.embedding), on_card_.grids(),
                    a_.streams.address(), handle());
    });
}

// x = norm(mix(X)), and the weights with which the sub-layer's output will be spread.
void CudaBackend::mix(const MixWeights& mix, const std::vector<float>& norm) {
    cuda::MixCall call;
    call.weights = on_card_.mix(mix);
    call.params = {config_.hidden_size, config_.sinkhorn_iterations, config_.hyper_connection_eps,
                   config_.norm_eps};
    call.norm = on_card_.floats(norm);
    call.streams = a_.streams.address();
    call.rows = rows();
    call.dots = a_.dots.address();
    call.x = a_.x.address();
    call.post = a_.post.address();
    call.comb = a_.comb.address();
    call.grids = on_card_.grids();
    cuda::mix(call, handle());
}

// X = spread(out, X)
void CudaBackend::spread() {
    cuda::spread(a_.out.address(), a_.post.address(), a_.comb.address(), a_.streams.address(),
                 config_.hidden_size, rows(), handle());
}

void CudaBackend::expert_input(int l) {
    box("expert_input", l, [&] {
        const Config& c = config_;
        const LayerWeights& w = layer(l);
        mix(w.expert_mix, w.expert_norm);
        Projection router{&w.router, a_.x.address(), c.hidden_size, a_.router_logits.address(), c.experts};
        router.float_inputs = true;  // near ties are common
        project({&router, 1}, rows());
        RouteCall route;
        route.rows = rows();
        route.logits = a_.router_logits.address();
        route.experts = c.experts;
        route.top_k = c.experts_per_token;
        route.bias = on_card_.floats(w.router_bias);
        route.table = on_card_.integers(w.table);
        route.tokens = batch_.view().tokens;
        route.scale = c.routed_scale;
        route.ids = expert_ids(l);
        route.weights = a_.expert_weights.address();
        cuda::route(route, handle());
    });
}

void CudaBackend::experts(int l) {
    box("experts", l, [&] {
        const Config& c = config_;
        cuda::ExpertsCall call;
        call.rows = rows();
        call.x = a_.x.address();
        call.y = a_.out.address();
        call.inner = a_.expert_inner.address();
        call.top_k = c.experts_per_token;
        call.ids = expert_ids(l);
        call.weights = a_.expert_weights.address();
        call.routed = on_card_.experts(l);
        call.shared = on_card_.expert(layer(l).shared);
        call.limit = c.swiglu_limit[size(l)];
        call.shared_limit = c.swiglu_limit_shared[size(l)];
        call.grids = on_card_.grids();
        const ExpertWeights layout = on_card_.expert(layer(l).experts.front());
        if (rounds_inputs() &&
            cuda::can_stream_experts(layout, call.shared, std::min(call.rows, kStreamedTogether), call.top_k,
                                     card_)) {
            for (int left = rows(); left > 0; left -= kStreamedTogether) {
                call.rows = std::min(left, kStreamedTogether);
                cuda::experts_streamed(call, layout, card_, handle());
                call.x += call.rows * c.hidden_size;
                call.y += call.rows * c.hidden_size;
                call.ids += call.rows * c.experts_per_token;
                call.weights += call.rows * c.experts_per_token;
            }
        } else {
            cuda::experts(call, handle());
        }
        spread();
    });
    if (observer_) show(l);
}

void CudaBackend::show(int l) {
    std::vector<float> streams(size(std::int64_t(rows()) * kStreams * config_.hidden_size));
    std::vector<std::int32_t> ids(size(std::int64_t(rows()) * config_.experts_per_token)), selected;
    if (config_.shape(l).indexer) selected.resize(size(std::int64_t(rows()) * config_.index_top_k));
    const auto fetch = [&]<class T>(const T* from, std::vector<T>& to) {
        stream_.copy(reinterpret_cast<std::byte*>(to.data()), reinterpret_cast<const std::byte*>(from),
                     to.size() * sizeof(T));
    };
    fetch(a_.streams.address(), streams);
    fetch(expert_ids(l), ids);
    fetch(a_.selected.address(), selected);
    stream_.synchronize();
    observer_({l, streams, ids, selected});
}

void CudaBackend::head() {
    box("head", -1, [&] {
        const int wanted = batch_.view().wanted_rows;
        cuda::MixCall call;
        call.weights = on_card_.mix(weights_.head_mix);
        call.params = {config_.hidden_size, config_.sinkhorn_iterations, config_.hyper_connection_eps,
                       config_.norm_eps};
        call.norm = on_card_.floats(weights_.norm);
        call.streams = a_.streams.address();
        call.wanted = batch_.view().wanted;
        call.rows = wanted;
        call.dots = a_.dots.address();
        call.x = a_.x.address();
        call.grids = on_card_.grids();
        cuda::mix(call, handle());
        // [wanted, H] -> [wanted, vocab]
        const Projection head{&weights_.head, a_.x.address(), config_.hidden_size, a_.logits.address(),
                              config_.vocab_size};
        project({&head, 1}, wanted);
    });
}

void CudaBackend::sample(int rows, const std::function<void(int row)>& choose) {
    host_.for_each(rows, choose);
}

}  // namespace cachalot
