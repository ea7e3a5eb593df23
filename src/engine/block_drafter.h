// Drafts of the DSpark drafter: a block of tokens in one pass of its stages.
//
// The stages give logits for all tokens of the block, as if they were independent. What makes a text of them
// is a Markov bias: for the i-th token, with the token before it,
//
//     logits_i += W2 W1[token before]        W1, W2: [vocab, markov rank]
//
// so the tokens are chosen one after the other. The logit of a token's being right, if all before it are, is
//
//     confidence_i = c . [what the head normalised, W1[token before]]
#pragma once

#include "base/aligned.h"
#include "engine/model_drafter.h"

namespace cachalot {

class BlockDrafter final : public ModelDrafter {
  public:
    // The engine has a drafter of this kind, and outlives this.
    explicit BlockDrafter(Engine& engine) : ModelDrafter(engine) {}

    std::vector<Draft> propose(std::span<const Request> requests) override;
    int passes(std::size_t) const override { return 1; }

  private:
    void markov_bias(std::size_t n, const float* embeddings, float* bias);
    float confidence(std::span<const float> collapsed, std::span<const float> embedding) const;

    AlignedBuffer<float> embeddings_, bias_;  // [requests, markov rank], [requests, vocab]
};

}  // namespace cachalot
