#include "engine/mtp_drafter.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sampling/logprobs.h"

namespace cachalot {
namespace {

// log(p / (1 - p)) of a token's probability p; within bounds where that is 0 or 1.
float log_odds(std::span<const float> logits, std::int32_t token) {
    constexpr double kMost = 30;
    const double log_p = logits[static_cast<std::size_t>(token)] - log_sum_exp(logits);
    return static_cast<float>(std::clamp(log_p - std::log(-std::expm1(log_p)), -kMost, kMost));
}

}  // namespace

std::vector<ModelDrafter::Draft> MtpDrafter::propose(std::span<const Request> requests) {
    std::vector<Draft> drafts(requests.size());
    std::vector<std::size_t> drafting(requests.size());
    std::iota(drafting.begin(), drafting.end(), std::size_t{0});
    std::erase_if(drafting, [&](std::size_t r) {
        return requests[r].state->draft_begin() == requests[r].state->length();
    });
    for (int depth = 0; depth < block_size(); ++depth) {
        std::erase_if(drafting, [&](std::size_t r) {
            const auto& [state, newest, most, choose, goes_on] = requests[r];
            if (std::ssize(drafts[r].tokens) < depth || depth >= most) return true;
            return depth > 0 && goes_on && !goes_on(drafts[r].confidences);
        });
        if (drafting.empty()) break;
        Batch batch;
        for (const std::size_t r : drafting)
            batch.add_draft(*requests[r].state, depth == 0 ? requests[r].newest : drafts[r].tokens.back(),
                            depth);
        const PassOutput output = engine_.draft(batch);
        const auto vocab = static_cast<std::size_t>(output.vocab);
        float* copies = logits_.reserve(drafting.size() * vocab);
        engine_.backend().sample(static_cast<int>(drafting.size()), [&](int k) {
            const auto at = static_cast<std::size_t>(k), r = drafting[at];
            const std::span<const float> logits = output.logits.subspan(at * vocab, vocab);
            if (observer_) observer_(static_cast<int>(r), depth, true, logits);
            const std::span<float> copy(copies + at * vocab, vocab);
            std::ranges::copy(logits, copy.begin());
            const auto token = requests[r].choose(copy);
            if (!token) return;
            drafts[r].tokens.push_back(*token);
            drafts[r].confidences.push_back(log_odds(logits, *token));
        });
    }
    return drafts;
}

}  // namespace cachalot
