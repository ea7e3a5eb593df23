// What the stages of a drafter remember of a pass of the model (DSpark;
// docs/speculation.md): for each token
//
//     m = norm(W [mean of the streams that enter each target layer])      W: [H, target layers * H]
//
// and in each stage the row norm(kv m), rotated to the token's own place. So the windows of the stages hold
// tokens of the model, and never a token that was drafted.
#include <algorithm>

#include "layers/host_backend.h"

namespace cachalot {

void HostBackend::tap(int l) {
    if (!drafter_) return;
    const auto& targets = drafter_->targets;
    const auto found = std::ranges::find(targets, l);
    if (found == targets.end()) return;
    box("tap", l, [this, at = found - targets.begin()] {
        const std::int64_t H = config_.hidden_size, all = std::ssize(drafter_->targets) * H;
        float* taps = room(a_.taps, all);  // [rows, target layers, H]
        primitives_.average(a_.streams.address(), config_.hidden_size, batch_.rows(), taps + at * H, all);
    });
}

void HostBackend::absorb() {
    if (!drafter_) return;
    box("absorb", -1, [this] {
        const Config& c = config_;
        const DrafterWeights& w = drafter_->parts;
        const auto& stages = drafter_->weights.layers;
        const int n = batch_.rows();
        Projection input = product(w.input, a_.taps, a_.absorbed);  // [rows, target layers * H] -> [rows, H]
        primitives_.project({&input, 1}, n);
        primitives_.rms_norm(input.y, w.input_norm.data(), c.norm_eps, n, c.hidden_size);

        const std::int64_t stage_size = std::int64_t(n) * c.head_dim;
        float* kv = room(a_.absorbed_kv, std::ssize(stages) * c.head_dim);  // [stages, rows, D]
        std::vector<Projection> to_kv;
        for (const LayerWeights& stage : stages)
            to_kv.push_back({&stage.attention.kv, input.y, c.hidden_size, kv + std::ssize(to_kv) * stage_size,
                             c.head_dim});
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
                                   stages[i].attention.kv_norm.data(), c.norm_eps, rope_.rows(false, static_cast<int>(first)),
                                   layout_.window_format(), ring.view(s.slab)});
            }
        primitives_.latent(latents);
    });
}

}  // namespace cachalot
