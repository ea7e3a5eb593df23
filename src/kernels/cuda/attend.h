// Attention of the rows of a pass over their windows and their compressed rows.
#pragma once

#include "device/cuda_device.h"
#include "kernels/cuda/batch_view.h"

namespace cachalot::cuda {

inline constexpr int kMostHeadDim = 1024;

// AttendCall of kernels/primitives.h, for all sequences; without `block` and `window_first`, which are of
// drafters and of V4.1.
struct AttendCall {
    BatchView batch;
    const float* q = nullptr;  // [rows, heads, D]
    float* out = nullptr;      // [rows, heads, D], rotated back
    RotaryView rotary;         // of the rows
    int heads = 0;
    RowFormat window_format, compressed_format;
    int window_size = 0;
    RingPlace window;
    int ratio = 0;                           // 0: window only
    PagePlace compressed;                    // rows [0, (position+1)/ratio) are visible
    const std::int32_t* selected = nullptr;  // [rows, top_k], see ChooseCall; null: all visible rows
    int top_k = 0;
    const float* sinks = nullptr;  // [heads]
};
void attend(const AttendCall& call, CudaStreamHandle stream);

}  // namespace cachalot::cuda
