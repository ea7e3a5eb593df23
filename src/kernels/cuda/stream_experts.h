// The experts of the few rows of passes that write answers, as fast as memory gives their weights.
#pragma once

#include "device/cuda_device.h"
#include "kernels/cuda/experts.h"

namespace cachalot::cuda {

// Whether experts_streamed() can compute experts of these shapes and types: gate and up in MXFP4, IQ2_XXS or
// Q8_0, down in MXFP4, Q2_K or Q8_0, the shared expert in Q8_0; all with rows that the copy engine can fetch;
// a card with a copy engine. `layout`: of all routed experts of the layer.
bool can_stream_experts(const ExpertWeights& layout, const ExpertWeights& shared, int rows, int top_k,
                        const CudaCard& card);

// As cuda::experts(), but inputs of products are rounded to int8 (Precision::fast). `layout`: any of the
// routed experts; its addresses are not read.
void experts_streamed(const ExpertsCall& call, const ExpertWeights& layout, const CudaCard& card,
                      CudaStreamHandle stream);

}  // namespace cachalot::cuda
