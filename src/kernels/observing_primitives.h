// Primitives that show an observer what they multiply.
#pragma once

#include <memory>

#include "kernels/activation_observer.h"
#include "kernels/primitives.h"

namespace cachalot {

// Passes every call on to `primitives`. The observer must outlive the result.
std::unique_ptr<Primitives> make_observing_primitives(std::unique_ptr<Primitives> primitives,
                                                      ActivationObserver& observer);

}  // namespace cachalot
