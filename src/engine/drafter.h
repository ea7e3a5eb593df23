// Guesses of what a sequence goes on with, several tokens at once, for the model to verify in one pass.
//
// A pass over several rows of one sequence costs less than as many passes, and what the model computes for a
// row does not depend on the others. So a draft is verified by evaluating it behind the newest token: as long
// as the token that is chosen from a row's logits is the one that was drafted for the next row, that row is
// what would have been computed anyway. The first row whose choice differs is the last of use; the state goes
// back to it. Nothing about the choice changes, so greedy or sampled, the text is the same as without drafts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

class Drafter {
  public:
    virtual ~Drafter() = default;

    // At most `most` tokens that may follow `tokens`, none where there is no good guess. `tokens` is all of
    // the sequence, the prompt first; it begins with the tokens of the call before.
    virtual std::vector<std::int32_t> propose(std::span<const std::int32_t> tokens, int most) = 0;
};

}  // namespace cachalot
