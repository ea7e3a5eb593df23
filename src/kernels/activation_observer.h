// Sees what goes into the matrix products of a pass: what an importance matrix is made from.
#pragma once

#include <cstdint>

namespace cachalot {

struct Projection;
struct ExpertsCall;

inline constexpr std::int32_t kSharedExpert = -1;

// Called by the thread that calls the operation, when the values are there. They are valid during the call
// only.
class ActivationObserver {
  public:
    virtual ~ActivationObserver() = default;

    // One product of Primitives::project; its inputs are p.x.
    virtual void projected(const Projection& p, int rows) = 0;

    // The inputs of the experts' gate and up, call.x, are about to be used.
    virtual void entered(const ExpertsCall& call) = 0;

    // The inputs of an expert's `down`: rows of `columns` floats, `stride` apart, one for each choice of the
    // expert, the router's weight included. For all rows of an expert that was chosen, and of kSharedExpert,
    // at once or one after the other; the experts in any order.
    virtual void activated(const ExpertsCall& call, std::int32_t expert, const float* h, std::int64_t rows,
                           std::int64_t columns, std::int64_t stride) = 0;
};

}  // namespace cachalot
