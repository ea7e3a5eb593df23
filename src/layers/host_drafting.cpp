// What the stages of a drafter remember of a pass of the model (docs/speculation.md).
//
// DSpark: for each token
//
//     m = norm(W [mean of the streams that enter each target layer])      W: [H, target layers * H]
//
// and in each stage the row norm(kv m), rotated to the token's own place. So the windows of the stages hold
// tokens of the model, and never a token that was drafted.
//
// The MTP block of the preview releases reads the streams behind the model's last layer. Its input for the
// token at position p is
//
//     X'[k] = E norm(embedding of the token) + S norm(X[k] at p-1)        E, S: [H, H]
//
// and its logits are of the token at p+1, though the model has not seen the token at p yet. Releases count
// such a row as one of p-1; attention depends on distances only, so both are the same, and here rows of the
// block stand where the rows of the same pass of the model do. What X was is kept in a ring, and the block
// leaves its own streams there for a token that is drafted. Later the model's take their place.
#include <algorithm>
#include <cstring>

#include "layers/host_backend.h"

namespace cachalot {

void HostBackend::tap(int l) {
    if (!drafter_ || is_drafter()) return;
    const auto& targets = drafter_->targets;
    const auto found = std::ranges::find(targets, l);
    if (found == targets.end() || batch_.rows() == 0) return;
    box("tap", l, [this, at = found - targets.begin()] {
        const std::int64_t H = config_.hidden_size, all = std::ssize(drafter_->targets) * H;
        float* taps = room(a_.taps, all);  // [rows, target layers, H]
        primitives_.average(a_.streams.address(), config_.hidden_size, batch_.rows(), taps + at * H, all);
    });
}

void HostBackend::absorb() {
    if (!drafter_ || is_drafter()) return;
    box("absorb", -1, [this] { keep_windows(mtp() ? absorb_streams() : absorb_taps()); });
}

void HostBackend::carry() {
    if (!mtp()) return;
    box("carry", -1, [this] {
        const RowRing& ring = layout_.draft_stages().front().streams;
        for (const SequenceRows& s : batch_.sequences()) {
            const RingView view = ring.view(s.slab);
            const auto bytes = static_cast<std::size_t>(view.row_bytes);
            for (std::int64_t r = std::max<std::int64_t>(0, s.count - ring.capacity()); r < s.count; ++r)
                std::memcpy(view.row(s.start + r),
                            a_.streams.address() + (s.first + r) * kStreams * config_.hidden_size, bytes);
        }
    });
}

void HostBackend::join() {
    if (!mtp() || !is_drafter()) return;
    box("join", -1, [this] { join_streams(nullptr, a_.streams.address()); });
}

// x [rows, 4, H]: the tokens' embeddings, which become the input of the block. `after` [rows, 4, H]: the
// streams of the batch's own rows, from which all but the first row of a sequence go on; null if there is one
// row of each.
void HostBackend::join_streams(const float* after, float* x) {
    const DrafterWeights& w = drafter_->parts;
    const Config& c = drafter_->config;
    const std::int64_t H = c.hidden_size, row = kStreams * H;
    const int n = batch_.rows();
    const RowRing& ring = layout_.draft_stages().front().streams;
    float* before = room(a_.carried, row);
    for (const SequenceRows& s : batch_.sequences()) {
        float* first = before + s.first * row;
        if (s.start > s.draft_begin)
            std::memcpy(first, ring.view(s.slab).row(s.start - 1), static_cast<std::size_t>(ring.row_bytes));
        else  // not known; nobody will look at this row
            std::fill_n(first, row, 0.0f);
        if (s.count > 1) std::copy_n(after + s.first * row, (s.count - 1) * row, first + row);
    }
    primitives_.rms_norm(before, w.hidden_norm.data(), c.norm_eps, n * kStreams, c.hidden_size);
    primitives_.rms_norm(x, w.embedding_norm.data(), c.norm_eps, n * kStreams, c.hidden_size);
    float* token = room(a_.joined_token, H);
    const Projection of_token{&w.embedding_input, x, row, token,
                              H};  // of the first of four that are the same
    primitives_.project({&of_token, 1}, n);
    const Projection of_streams{&w.hidden_input, before, H, x, H};
    primitives_.project({&of_streams, 1}, n * kStreams);
    for (std::int64_t stream = 0; stream < std::int64_t(n) * kStreams; ++stream)
        for (std::int64_t i = 0; i < H; ++i) x[stream * H + i] += token[stream / kStreams * H + i];
}

const float* HostBackend::absorb_taps() {
    const DrafterWeights& w = drafter_->parts;
    Projection input = product(w.input, a_.taps, a_.absorbed);  // [rows, target layers * H] -> [rows, H]
    primitives_.project({&input, 1}, batch_.rows());
    primitives_.rms_norm(input.y, w.input_norm.data(), config_.norm_eps, batch_.rows(), config_.hidden_size);
    return input.y;
}

const float* HostBackend::absorb_streams() {
    const LayerWeights& block = drafter_->weights.layers.front();
    const std::int64_t H = config_.hidden_size;
    float* streams = room(a_.joined, kStreams * H);
    primitives_.embed(weights_.embedding, batch_.tokens(), streams);
    join_streams(a_.streams.address(), streams);
    float* x = room(a_.absorbed, H);
    primitives_.hyper_connection_pre(block.attention_mix, mixing_of(drafter_->config),
                                     block.attention_norm.data(), streams, batch_.rows(), x,
                                     room(a_.post, kStreams), room(a_.comb, kStreams * kStreams));
    return x;
}

// What attention_input and remember do in a layer, of which nothing but the windows is needed.
void HostBackend::keep_windows(const float* input) {
    const Config& c = config_;
    const auto& stages = drafter_->weights.layers;
    const int n = batch_.rows();
    const std::int64_t stage_size = std::int64_t(n) * c.head_dim;
    float* kv = room(a_.absorbed_kv, std::ssize(stages) * c.head_dim);  // [stages, rows, D]
    std::vector<Projection> to_kv;
    for (const LayerWeights& stage : stages)
        to_kv.push_back(
            {&stage.attention.kv, input, c.hidden_size, kv + std::ssize(to_kv) * stage_size, c.head_dim});
    primitives_.project(to_kv, n);

    std::vector<LatentCall> latents;
    for (std::size_t i = 0; i < stages.size(); ++i)
        for (const SequenceRows& s : batch_.sequences()) {
            const RowRing& ring = layout_.draft_stages()[i].window;
            // Of many rows the last ones are kept; nobody sees the others.
            const auto skip = static_cast<int>(std::max<std::int64_t>(0, s.count - ring.capacity()));
            const std::int64_t first = s.first + skip;
            latents.push_back({s.start + skip, s.count - skip,
                               kv + static_cast<std::int64_t>(i) * stage_size + first * c.head_dim,
                               stages[i].attention.kv_norm.data(), c.norm_eps,
                               rope_.rows(false, static_cast<int>(first)), layout_.window_format(),
                               ring.view(s.slab)});
        }
    primitives_.latent(latents);
}

}  // namespace cachalot
