// Drafts of a model's own drafter (DSpark): a few tokens at once for any number of sequences, and how sure
// the drafter is of each.
//
// The drafter's stages give logits for all tokens of a block in one pass, as if they were independent. What
// makes a text of them is a Markov bias: for the i-th token, with the token before it,
//
//     logits_i += W2 W1[token before]        W1, W2: [vocab, markov rank]
//
// so the tokens are chosen one after the other, each in the way in which the model's own will be chosen
// (Generation::Guess). The logit of its being right, if all before it are, is
//
//     confidence_i = c . [what the head normalised, W1[token before]]
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "engine/engine.h"

namespace cachalot {

class BlockDrafter {
  public:
    // The engine has a drafter, and outlives this.
    explicit BlockDrafter(Engine& engine);

    int block_size() const;

    struct Request {
        KvState* state;       // lacks the newest token only
        std::int32_t newest;  // token
        int most;             // tokens to draft, up to block_size()
        // Chooses the next token from logits [vocab], which it may change; none ends the draft.
        std::function<std::optional<std::int32_t>(std::span<float> logits)> choose;
    };
    struct Draft {
        std::vector<std::int32_t> tokens;
        std::vector<float> confidences;  // logits, of the tokens
    };

    // Drafts in the order of the requests. Throws what Engine::draft() and choose() throw.
    std::vector<Draft> propose(std::span<const Request> requests);

    // Is shown the logits [vocab] of each row before and after its bias; for tests and for authors of
    // drafters.
    using Observer = std::function<void(int request, int row, bool biased, std::span<const float> logits)>;
    void observe(Observer observer) { observer_ = std::move(observer); }

  private:
    void markov_bias(std::size_t n, const float* embeddings, float* bias);
    float confidence(std::span<const float> collapsed, std::span<const float> embedding) const;

    Engine& engine_;
    const DraftModel& drafter_;
    AlignedBuffer<float> embeddings_, bias_;  // [requests, markov rank], [requests, vocab]
    Observer observer_;
};

}  // namespace cachalot
