// A primitives whose operations are recorded, with the bytes they read and the operations they do.
#pragma once

#include <memory>

#include "base/trace.h"
#include "kernels/primitives.h"

namespace cachalot {

// Passes every call on to `primitives`. The trace must outlive the result.
std::unique_ptr<Primitives> make_tracing_primitives(std::unique_ptr<Primitives> primitives, Trace& trace);

}  // namespace cachalot
