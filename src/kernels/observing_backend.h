// A backend that shows an observer what it multiplies.
#pragma once

#include <memory>

#include "kernels/activation_observer.h"
#include "kernels/backend.h"

namespace cachalot {

// Passes every call on to `backend`. The observer must outlive the result.
std::unique_ptr<Backend> make_observing_backend(std::unique_ptr<Backend> backend,
                                                ActivationObserver& observer);

}  // namespace cachalot
