#include "kernels/observing_primitives.h"

#include "kernels/forwarding_primitives.h"

namespace cachalot {
namespace {

class ObservingPrimitives final : public ForwardingPrimitives {
  public:
    ObservingPrimitives(std::unique_ptr<Primitives> primitives, ActivationObserver& observer)
        : ForwardingPrimitives(std::move(primitives)), observer_(observer) {}

    void project(std::span<const Projection> projections, int rows) override {
        for (const auto& p : projections) observer_.projected(p, rows);
        primitives_->project(projections, rows);
    }

    void experts(const ExpertsCall& call) override {
        observer_.entered(call);
        ExpertsCall observed = call;
        observed.observer = &observer_;
        primitives_->experts(observed);
    }

  private:
    ActivationObserver& observer_;
};

}  // namespace

std::unique_ptr<Primitives> make_observing_primitives(std::unique_ptr<Primitives> primitives,
                                                      ActivationObserver& observer) {
    return std::make_unique<ObservingPrimitives>(std::move(primitives), observer);
}

}  // namespace cachalot
