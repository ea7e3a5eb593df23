// A sequence's state that outlives the prompt it was made for.
//
// The next prompt usually begins with the same tokens, so only the rest is evaluated: up to the difference the state is
// rolled back if that is near, or restored from one of a few checkpoints. One is taken where the last answer's header
// begins, because there a prompt may still change: reasoning is dropped from history when the user speaks again.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "engine/generation.h"

namespace cachalot {

class ReusableState {
  public:
    explicit ReusableState(Engine& engine) : engine_(&engine), state_(engine.new_state()) {}

    // Brings the state to the longest prefix of the prompt (not empty) that it can be brought to, short of the whole:
    // the last token has to be evaluated for its logits. Returns its length.
    std::size_t reuse(std::span<const std::int32_t> prompt);

    // The tokens that reuse() would keep, without changing anything.
    std::size_t reusable(std::span<const std::int32_t> prompt) const;

    // Runs the generation of a prompt whose last answer header begins at token `header`, on a state that reuse() has
    // prepared for it. on_prefill counts from the reused tokens on. Whatever it throws, the state can be used again.
    Timings run(Generation& generation, std::size_t header, const GenerationCallbacks& callbacks = {});

    // Continues from a state that was made otherwise and holds `tokens`.
    void adopt(KvState state, std::vector<std::int32_t> tokens);

    const KvState& state() const { return state_; }
    std::size_t size() const { return tokens_.size(); }  // tokens held

  private:
    static constexpr std::size_t kCheckpoints = 4;

    std::size_t common(std::span<const std::int32_t> prompt) const;
    Timings prefill_to(std::size_t header, Generation& generation, const GenerationCallbacks& callbacks);

    Engine* engine_;
    KvState state_;
    std::vector<std::int32_t> tokens_;      // that state_ holds
    std::deque<KvCheckpoint> checkpoints_;  // of prefixes of tokens_, shortest first
};

}  // namespace cachalot
