// How the operation `experts` gets the routed experts of a layer: not as a table of weights, but by asking
// for them.
//
// Some may be in memory and others on disk. It names the experts that its rows chose, computes the shared
// expert and those that are there, then takes the others in the order in which they arrive, so that reading
// hides behind computing. What it computes does not depend on that order: every (row, choice) has a place of
// its own for its result, and the sum is taken in the order of the choices when all have come.
//
//     supply.request(experts, rows);
//     for (left = experts.size();;) {
//         left -= supply.next(weights);
//         ... compute with what there is ...
//         if (left == 0) break;
//     }
#pragma once

#include <cstdint>
#include <span>

#include "tensor/matrix.h"

namespace cachalot {

struct ExpertWeights {
    Matrix gate, up;  // [I, H]
    Matrix down;      // [H, I]
};

class ExpertSupply {
  public:
    virtual ~ExpertSupply() = default;

    // The shapes and types of an expert's weights, known before they are there; their data must not be
    // touched.
    virtual const ExpertWeights& layout(std::int32_t expert) const = 0;

    // The experts that are needed, ascending, and how many rows chose each. Both must stay until all are
    // handed out. Whatever was handed out before is no longer valid.
    virtual void request(std::span<const std::int32_t> experts, std::span<const std::int32_t> rows) = 0;

    // Sets weights[i] if the i-th expert asked for is handed out now, else to null, and returns how many are.
    // Each is handed out once and valid until the next call. The first call after request() does not wait and
    // may hand out nothing; every other one waits for at least one expert. Throws Error if one cannot be
    // read; what was asked for is forgotten then.
    virtual std::size_t next(std::span<const ExpertWeights*> weights) = 0;
};

// All experts of a layer are in memory.
class ExpertsInMemory final : public ExpertSupply {
  public:
    explicit ExpertsInMemory(std::span<const ExpertWeights> experts) : experts_(experts) {}

    const ExpertWeights& layout(std::int32_t expert) const override {
        return experts_[static_cast<std::size_t>(expert)];
    }
    void request(std::span<const std::int32_t> experts, std::span<const std::int32_t>) override {
        asked_ = experts;
    }
    std::size_t next(std::span<const ExpertWeights*> weights) override {
        for (std::size_t i = 0; i < asked_.size(); ++i) weights[i] = &layout(asked_[i]);
        return asked_.size();
    }

  private:
    std::span<const ExpertWeights> experts_;  // [E]
    std::span<const std::int32_t> asked_;
};

}  // namespace cachalot
