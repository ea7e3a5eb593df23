// The boxes, composed of the operations of kernels/primitives.h: what runs on CPUs, and the reference for
// other processors.
//
// Each box is work on the stream of the states' memory (device/device.h). On the host it is done when the
// call returns; the same code runs, late, on a device for tests whose memory cannot be read in between.
#pragma once

#include <memory>
#include <vector>

#include "base/trace.h"
#include "experts/engram_store.h"
#include "experts/expert_store.h"
#include "kernels/primitives.h"
#include "layers/activations.h"
#include "layers/backend.h"
#include "layers/batch_mirror.h"
#include "layers/rope.h"
#include "model/draft_model.h"
#include "model/layer_range.h"

namespace cachalot {

class HostBackend final : public Backend {
  public:
    // The primitives, the model's parts and the stores outlive the backend. `engram`: null if the model has
    // no tables. `trace`: records every box, if anything does. `drafter`: its stages remember what passes
    // through this model. `first_stage`, if not 0: these layers are the stages of that drafter, whose windows
    // the states have in the places from this one on.
    HostBackend(Primitives& primitives, const Config& config, const Weights& weights, ExpertStore& store,
                EngramStore* engram, const std::shared_ptr<KvPool>& pool, const LayerRange& range,
                Trace* trace = nullptr, const DraftModel* drafter = nullptr, int first_stage = 0);

    PassOutput pass(const Batch& batch, const std::function<void()>& issue) override;
    void embed() override;
    void engram(int layer) override;
    void tap(int layer) override;
    void attention_input(int layer) override;
    void remember(int layer) override;
    void leave_context(int layer) override;
    void queries(int layer) override;
    void choose(int layer) override;
    void attend(int layer) override;
    void attention_output(int layer) override;
    void expert_input(int layer) override;
    void experts(int layer) override;
    void absorb() override;
    void carry() override;
    void join() override;
    void head() override;
    void sample(int rows, const std::function<void(int row)>& choose) override;
    void observe(LayerObserver observer) override {
        observer_ = std::move(observer);
        recorded_.clear();
    }

  private:
    // The rings of one sequence while a chunk is computed (state/row_ring.h), and the rows that they were
    // opened for. Context and what follows it share them.
    struct OpenRings {
        std::int64_t start = 0, count = 0;
        RingView window, kv, score, index_kv, index_score;
    };

    // Gives a box to the stream. The body reads batch_, never anything that this pass alone has.
    template <class Body>
    void box(const char* name, int layer, const Body& body) {
        Stream::Work work = [this, name, layer, body] {
            const Traced span(trace_, name, layer);
            body();
        };
        if (replays_) recorded_.push_back(work);
        stream_.run(std::move(work));
    }

    bool is_drafter() const { return first_stage_ > 0; }  // of a drafter, not layers of the model
    bool mtp() const { return drafter_ && drafter_->kind == DrafterKind::mtp; }
    const LayerLayout& layout(int l) const { return layout_.layer(first_stage_ + l); }
    const LayerWeights& layer(int l) const { return weights_.layers[static_cast<std::size_t>(l)]; }
    std::size_t rows() const { return static_cast<std::size_t>(batch_.rows()); }
    float* room(Buffer<float>& buffer, std::int64_t row_size) {  // [rows, row_size]
        return buffer.reserve(rows() * static_cast<std::size_t>(row_size));
    }
    static HyperConnectionParams mixing_of(const Config& config);
    Projection product(const Matrix& weight, const Buffer<float>& x, Buffer<float>& y);
    float* delayed();  // [rows, 4]; null where mixing is not delayed
    void collapse(const MixWeights& mix, const std::vector<float>& norm);
    void spread();
    // host_drafting.cpp; [rows, H] the input of the stages' windows
    const float* absorb_taps();
    const float* absorb_streams();
    void keep_windows(const float* input);
    void join_streams(const float* after, float* x);
    std::int32_t* expert_ids(int layer);  // [rows, k]
    void open_rings(int layer);
    void close_rings(int layer, std::size_t first_sequence = 0);
    CompressCall compressor(const CompressorWeights& weights, const CompressorLayout& layout,
                            const SequenceRows& sequence, const Buffer<float>& kv, const Buffer<float>& gate,
                            const RingView& kv_ring, const RingView& score_ring, const RowFormat& format);

    Primitives& primitives_;
    const Config& config_;
    const Weights& weights_;
    ExpertStore& store_;
    EngramStore* const engram_;
    const std::shared_ptr<KvPool> pool_;
    const KvLayout& layout_;
    const LayerRange range_;
    Trace* const trace_;
    const DraftModel* const drafter_;
    const int first_stage_;
    Stream& stream_;
    const HyperConnectionParams mixing_;
    BatchMirror batch_;
    RopeTables rope_;
    Activations a_;
    // [sequences], between remember and attend; of context that the rest follows, a copy with count 0
    std::vector<OpenRings> open_;
    const bool replays_;
    std::vector<Stream::Work> recorded_;  // the boxes of a pass, if the device replays them
    LayerObserver observer_;
};

}  // namespace cachalot
