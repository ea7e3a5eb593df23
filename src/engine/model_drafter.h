// Drafts of a drafter that is a small model itself (model/draft_model.h): some tokens at once for any number
// of sequences, and how sure the drafter is of each. Each token is chosen in the way in which the model's own
// will be chosen (Generation::Guess).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace cachalot {

class ModelDrafter {
  public:
    virtual ~ModelDrafter() = default;

    // The most tokens that it drafts.
    int block_size() const { return drafter_.block_size(); }

    struct Request {
        KvState* state;       // lacks the newest token only
        std::int32_t newest;  // token
        int most;             // tokens to draft, up to block_size()
        // Chooses the next token from logits [vocab], which it may change; none ends the draft.
        std::function<std::optional<std::int32_t>(std::span<float> logits)> choose;
        // Of a drafter that takes a pass for each token: asked before each further pass, with the confidences
        // of the tokens so far, whether it is worth it. Empty: it always is.
        std::function<bool(std::span<const float> confidences)> goes_on = {};
    };
    struct Draft {
        std::vector<std::int32_t> tokens;
        std::vector<float> confidences;  // of each token that it is right if those before it are: logits
    };
    // The passes that so long a draft takes.
    virtual int passes(std::size_t tokens) const = 0;

    // Drafts in the order of the requests. The states remain as they are. Throws what Engine::draft() and
    // choose() throw.
    virtual std::vector<Draft> propose(std::span<const Request> requests) = 0;

    // Is shown the logits [vocab] of each token that is drafted, `row` counted from 0; of DSpark twice,
    // before and after their bias, of others once, as `biased`. For tests and for authors of drafters.
    using Observer = std::function<void(int request, int row, bool biased, std::span<const float> logits)>;
    void observe(Observer observer) { observer_ = std::move(observer); }

  protected:
    explicit ModelDrafter(Engine& engine) : engine_(engine), drafter_(*engine.drafter()) {}

    Engine& engine_;
    const DraftModel& drafter_;
    Observer observer_;
};

// Of the engine's drafter, which there must be. The engine outlives it.
std::unique_ptr<ModelDrafter> make_model_drafter(Engine& engine);

}  // namespace cachalot
