// The states of the last prompts. A request takes the one that saves it most.
#pragma once

#include <list>
#include <string>

#include "engine/prefix_reuse.h"

namespace cachalot::server {

class StatePool {
  public:
    StatePool(Engine& engine, std::size_t limit) : engine_(engine), limit_(std::max<std::size_t>(limit, 1)) {}

    // A state for the prompt, on which reuse() has not been called yet. One that shares most of what it holds with the
    // prompt is continued; from one that shares less a copy is made (pages are shared), so that both conversations
    // stay. The state that has not been used for longest makes room. Valid until the next call.
    ReusableState& take(const std::string& tenant, std::span<const std::int32_t> prompt) {
        auto best = states_.end();
        std::size_t shared = 0;
        for (auto s = states_.begin(); s != states_.end(); ++s) {
            if (s->tenant != tenant) continue;
            if (auto length = s->state.reusable(prompt); length > shared) {
                shared = length;
                best = s;
            }
        }
        if (best != states_.end() && 2 * shared >= best->state.size()) {
            states_.splice(states_.begin(), states_, best);
            return states_.front().state;
        }
        states_.push_front({tenant, best != states_.end() ? best->state : ReusableState(engine_)});
        if (states_.size() > limit_) states_.pop_back();
        return states_.front().state;
    }

  private:
    struct Kept {
        std::string tenant;
        ReusableState state;
    };
    Engine& engine_;
    const std::size_t limit_;
    std::list<Kept> states_;  // the last used first
};

}  // namespace cachalot::server
