#include "engine/block_drafter.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "tensor/convert.h"

namespace cachalot {

std::vector<ModelDrafter::Draft> BlockDrafter::propose(std::span<const Request> requests) {
    std::vector<Draft> drafts(requests.size());
    if (requests.empty()) return drafts;
    std::vector<std::int32_t> block(static_cast<std::size_t>(block_size()), drafter_.dspark.noise_token);
    Batch batch;
    for (const Request& request : requests) {
        block.front() = request.newest;
        batch.add(*request.state, block, RowsKind::draft, Batch::Logits::all);
    }
    const PassOutput output = engine_.draft(batch);

    const auto vocab = static_cast<std::size_t>(output.vocab);
    const auto rank = static_cast<std::size_t>(drafter_.dspark.markov_rank);
    const auto hidden = static_cast<std::size_t>(drafter_.config.hidden_size);
    std::vector<std::size_t> drafting(requests.size());
    std::iota(drafting.begin(), drafting.end(), std::size_t{0});
    for (std::size_t i = 0; !drafting.empty(); ++i) {
        std::erase_if(drafting, [&](std::size_t r) {
            return i >= block.size() || std::ssize(drafts[r].tokens) < static_cast<std::ptrdiff_t>(i) ||
                   static_cast<std::ptrdiff_t>(i) >= requests[r].most;
        });
        const std::size_t n = drafting.size();
        float* embeddings = embeddings_.reserve(n * rank);
        float* bias = bias_.reserve(n * vocab);
        for (std::size_t k = 0; k < n; ++k) {
            const auto r = drafting[k];
            const auto before = i == 0 ? requests[r].newest : drafts[r].tokens.back();
            dequantize_row(drafter_.parts.markov_embedding, before, {embeddings + k * rank, rank});
        }
        markov_bias(n, embeddings, bias);
        engine_.backend().sample(static_cast<int>(n), [&](int k) {
            const auto at = static_cast<std::size_t>(k), r = drafting[at];
            const auto row = r * block.size() + i;
            const auto logits = output.logits.subspan(row * vocab, vocab);
            if (observer_) observer_(static_cast<int>(r), static_cast<int>(i), false, logits);
            for (std::size_t v = 0; v < vocab; ++v) logits[v] += bias[at * vocab + v];
            if (observer_) observer_(static_cast<int>(r), static_cast<int>(i), true, logits);
            const auto token = requests[r].choose(logits);
            if (!token) return;
            drafts[r].tokens.push_back(*token);
            drafts[r].confidences.push_back(
                confidence(output.collapsed.subspan(row * hidden, hidden), {embeddings + at * rank, rank}));
        });
    }
    return drafts;
}

// bias [n, vocab] = markov_head embeddings [n, rank]
void BlockDrafter::markov_bias(std::size_t n, const float* embeddings, float* bias) {
    const Matrix& head = drafter_.parts.markov_head;
    if (head.columns % 32 == 0) {  // of the widths that kernels take; all releases have such
        const Projection product{&head, embeddings, head.columns, bias, head.rows};
        return engine_.primitives().project({&product, 1}, static_cast<int>(n));
    }
    constexpr std::int64_t kTokens = 1024;
    const auto items = static_cast<int>((head.rows + kTokens - 1) / kTokens);
    engine_.primitives().for_each(items, [&](int item) {
        std::vector<float> row(static_cast<std::size_t>(head.columns));
        for (auto v = item * kTokens; v < std::min(head.rows, (item + 1) * kTokens); ++v) {
            dequantize_row(head, v, row);
            for (std::size_t k = 0; k < n; ++k)
                bias[k * static_cast<std::size_t>(head.rows) + static_cast<std::size_t>(v)] =
                    std::inner_product(row.begin(), row.end(), embeddings + k * row.size(), 0.0f);
        }
    });
}

float BlockDrafter::confidence(std::span<const float> collapsed, std::span<const float> embedding) const {
    const auto& weights = drafter_.parts.confidence;  // [H + markov rank]
    const auto middle = weights.begin() + std::ssize(collapsed);
    return std::inner_product(weights.begin(), middle, collapsed.begin(), 0.0f) +
           std::inner_product(middle, weights.end(), embedding.begin(), 0.0f);
}

}  // namespace cachalot
