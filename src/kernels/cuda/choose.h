// The indexer: which compressed rows a query sees.
#pragma once

#include "device/cuda_device.h"
#include "kernels/cuda/batch_view.h"

namespace cachalot::cuda {

// IndexCall of kernels/primitives.h, for all sequences; without candidates.
struct ChooseCall {
    BatchView batch;
    float* q = nullptr;              // [rows, heads, n]; rotated and Hadamard-transformed in place
    const float* weights = nullptr;  // [rows, heads]
    RotaryView rotary;               // of the rows
    int heads = 0;
    int ratio = 0;
    bool hadamard = true;
    RowFormat format;  // f32, or fp4_key: then queries are rounded to FP4 as well; n = format.size
    PagePlace keys;
    int top_k = 0;
    std::int32_t* selected = nullptr;  // [rows, top_k] ascending; filled where more than top_k are visible
    float* scores = nullptr;           // [rows, score_stride], room to compute in
    std::int64_t score_stride = 0;     // at least as many as rows are visible to any query
    std::int64_t most_visible = 0;     // to any query of the pass, or of the passes that the call stands for
};
void choose(const ChooseCall& call, CudaStreamHandle stream);

}  // namespace cachalot::cuda
