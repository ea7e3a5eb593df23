#include "kernels/observing_backend.h"

#include "kernels/forwarding_backend.h"

namespace cachalot {
namespace {

class ObservingBackend final : public ForwardingBackend {
  public:
    ObservingBackend(std::unique_ptr<Backend> backend, ActivationObserver& observer)
        : ForwardingBackend(std::move(backend)), observer_(observer) {}

    void project(std::span<const Projection> projections, int rows) override {
        for (const auto& p : projections) observer_.projected(p, rows);
        backend_->project(projections, rows);
    }

    void experts(const ExpertsCall& call) override {
        observer_.entered(call);
        ExpertsCall observed = call;
        observed.observer = &observer_;
        backend_->experts(observed);
    }

  private:
    ActivationObserver& observer_;
};

}  // namespace

std::unique_ptr<Backend> make_observing_backend(std::unique_ptr<Backend> backend,
                                                ActivationObserver& observer) {
    return std::make_unique<ObservingBackend>(std::move(backend), observer);
}

}  // namespace cachalot
