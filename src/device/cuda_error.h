// Errors of CUDA, as errors that a user can act on. Only for files that are compiled with CUDA's headers.
#pragma once

#include <cuda_runtime_api.h>

namespace cachalot {

// Throws for anything but success: OutOfMemory where memory is what is missing, else Error. The message names
// the call, the reason and, where there is one, the remedy.
//
//     check_cuda(cudaMemcpyAsync(...), "cudaMemcpyAsync");
void check_cuda(cudaError_t status, const char* call);

// After a kernel was launched: whether it could be.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

}  // namespace cachalot
