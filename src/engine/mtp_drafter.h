// Drafts of the block for multi-token prediction that the preview releases have (MTP).
//
// The block reads what the model's last layer has left of the token before the newest one, and the newest
// token itself, and gives the logits of the token that follows. For the tokens behind that it reads its own
// output, and what it has drafted (kMtpDepth; layers/host_drafting.cpp). So a draft takes as many passes of
// the block as it has tokens, each for all sequences together.
//
// There is nothing that says how sure the block is but its logits: the confidence of a token is what its
// softmax gives it, as a logit.
#pragma once

#include "base/aligned.h"
#include "engine/model_drafter.h"

namespace cachalot {

class MtpDrafter final : public ModelDrafter {
  public:
    // The engine has a drafter of this kind, and outlives this.
    explicit MtpDrafter(Engine& engine) : ModelDrafter(engine) {}

    // Nothing is drafted for a state that does not know the last token (KvState::draft_begin).
    std::vector<Draft> propose(std::span<const Request> requests) override;
    int passes(std::size_t tokens) const override { return static_cast<int>(tokens); }

  private:
    AlignedBuffer<float> logits_;  // [requests, vocab], to choose from
};

}  // namespace cachalot
