// A backend whose operations are recorded, with the bytes they read and the operations they do.
#pragma once

#include <memory>

#include "base/trace.h"
#include "kernels/backend.h"

namespace cachalot {

// Passes every call on to `backend`. The trace must outlive the result.
std::unique_ptr<Backend> make_tracing_backend(std::unique_ptr<Backend> backend, Trace& trace);

}  // namespace cachalot
