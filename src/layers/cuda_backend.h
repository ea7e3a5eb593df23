// The boxes on a card of NVIDIA: kernels of kernels/cuda, given to the stream of the states' memory.
//
// Everything that a pass reads and writes lies in the card's memory: weights (cuda_weights.h), what tells one
// pass from another (cuda_batch.h), activations, states. So the host only names kernels, and waits once, at
// the end. Passes in which every sequence has one row, as they are when answers are written, are recorded as
// a graph, and replayed: the kernels find tokens and positions where those of the pass before were. There is
// one graph for each number of rows and each class of depth, which shapes the grids.
//
// Passes of few rows stream weights that they can (kernels/cuda/stream.cuh), with activations that are
// rounded to int8 unless Precision::exact was asked for; all other products keep activations in float32.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/trace.h"
#include "device/cuda_device.h"
#include "device/cuda_graph.h"
#include "kernels/cpu/cpu_options.h"
#include "layers/backend.h"
#include "layers/cuda_batch.h"
#include "layers/cuda_weights.h"

namespace cachalot {

class CudaBackend final : public Backend {
  public:
    // The pool's device is a card. Copies the weights there; throws as CudaWeights does. The host's
    // primitives run sample(). All but the pool outlive the backend.
    CudaBackend(Primitives& host, const Config& config, const Weights& weights,
                const std::shared_ptr<KvPool>& pool, Precision precision, Trace* trace = nullptr);

    PassOutput pass(const Batch& batch, const std::function<void()>& issue) override;
    void embed() override;
    void engram(int /*layer*/) override {}
    void tap(int /*layer*/) override {}
    void attention_input(int layer) override;
    void remember(int layer) override;
    void leave_context(int /*layer*/) override {}
    void queries(int layer) override;
    void choose(int layer) override;
    void attend(int layer) override;
    void attention_output(int layer) override;
    void expert_input(int layer) override;
    void experts(int layer) override;
    void absorb() override {}
    void carry() override {}
    void join() override {}
    void head() override;
    void sample(int rows, const std::function<void(int row)>& choose) override;
    void observe(LayerObserver observer) override { observer_ = std::move(observer); }

    std::uint64_t weight_bytes() const { return on_card_.bytes(); }

  private:
    // What flows inside a pass (layers/activations.h); on the card.
    struct Activations {
        explicit Activations(const std::shared_ptr<Device>& on) : device(on) {}
        std::shared_ptr<Device> device;
        Buffer<float> cosine[2]{Buffer<float>(device), Buffer<float>(device)};  // [compressed][rows, R/2]
        Buffer<float> sine[2]{Buffer<float>(device), Buffer<float>(device)};
        Buffer<float> streams{device}, x{device}, out{device}, dots{device}, post{device}, comb{device};
        Buffer<float> q_low{device}, q{device}, attended{device}, kv{device}, output_low{device};
        Buffer<float> pool_kv{device}, pool_gate{device}, index_kv{device}, index_gate{device};
        Buffer<float> index_q{device}, index_weights{device}, scores{device}, attend_parts{device};
        Buffer<std::int32_t> selected{device};
        Buffer<float> router_logits{device}, expert_weights{device}, expert_inner{device};
        Buffer<std::int32_t> expert_ids{device};  // [layers, rows, k]
        Buffer<float> logits{device};             // [wanted rows, vocab]
        Buffer<std::byte> scratch{device};        // of rings
        // Where the host reads what a pass computed.
        Buffer<float> logits_here{device, Device::Memory::pinned};
        Buffer<std::int32_t> expert_ids_here{device, Device::Memory::pinned};
    };
    struct GraphKey {
        int rows = 0;
        std::int64_t depth = 0;
        auto operator<=>(const GraphKey&) const = default;
    };

    // Names the kernels of a box; waits for them only if somebody wants to know how long it took.
    template <class Body>
    void box(const char* name, int layer, const Body& body) {
        const Traced span(trace_, name, layer);
        body();
        if (trace_) stream_.synchronize();
    }

    CudaStreamHandle handle() const { return cuda_handle(stream_); }
    int rows() const { return batch_.view().rows; }
    bool splits_attention() const;
    bool rounds_inputs() const;  // whether kernels for few rows are used, whose results are not exact
    const LayerWeights& layer(int l) const { return weights_.layers[static_cast<std::size_t>(l)]; }
    const LayerLayout& layout(int l) const { return pool_->layout().layer(l); }
    RotaryView rotary(bool compressed) const;
    const float* frequencies(bool compressed) const;
    void prepare(const Batch& batch);
    void make_room();
    void project(std::span<const Projection> projections, int rows);
    void mix(const MixWeights& mix, const std::vector<float>& norm);
    void spread();
    void show(int layer);
    std::int32_t* expert_ids(int layer) const;
    // Of the rings of a layer, in the order of cuda_attention.cpp; unused ones have no bytes.
    struct Rings {
        cuda::RingPlace window, kv, score, index_kv, index_score;
    };
    Rings rings(int layer) const;
    std::int64_t most_keys(int layer) const;
    std::int64_t scratch_bytes(int longest) const;
    void copy_rings(int layer, bool open);

    Primitives& host_;
    const Config& config_;
    const Weights& weights_;
    const std::shared_ptr<KvPool> pool_;
    const CudaCard& card_;
    const Precision precision_;
    Trace* const trace_;
    Stream& stream_;
    const CudaWeights on_card_;
    Buffer<float> frequencies_;  // [2][R/2], plain and of compressed layers
    CudaBatch batch_;
    Activations a_;
    std::int64_t depth_ = 0;  // tokens that a sequence may have in the pass that is issued
    std::map<GraphKey, CudaGraph> graphs_;
    LayerObserver observer_;
};

}  // namespace cachalot
