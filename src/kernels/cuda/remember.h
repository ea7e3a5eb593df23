// What a layer keeps of new tokens: window rows, and compressed rows of the groups that they complete.
#pragma once

#include "device/cuda_device.h"
#include "kernels/cuda/batch_view.h"

namespace cachalot::cuda {

// LatentCall of kernels/primitives.h, for all sequences.
struct LatentCall {
    BatchView batch;
    const float* kv = nullptr;    // [rows, D]
    const float* norm = nullptr;  // [D]
    float norm_eps = 1e-6f;
    RotaryView rotary;  // of the rows
    RowFormat format;
    RingPlace window;
};
void latent(const LatentCall& call, CudaStreamHandle stream);

// CompressCall of kernels/primitives.h, for all sequences; V4's, with a ratio above 1 and gates.
struct CompressCall {
    BatchView batch;
    const float* kv = nullptr;    // [rows, width]
    const float* gate = nullptr;  // [rows, width]
    const float* ape = nullptr;   // [ratio, width]; may be null
    int width = 0;                // floats per token: 2n with overlap, n without
    int ratio = 0;
    bool overlap = false;
    RingPlace kv_state, score_state;
    const float* norm = nullptr;  // [n]
    float norm_eps = 1e-6f;
    const float* frequencies = nullptr;  // [R/2]
    bool hadamard = false;
    RowFormat format;  // n = format.size
    PagePlace out;
};
void compress(const CompressCall& call, CudaStreamHandle stream);

// Around latent, compress and what reads their rings: the old rows of long sequences are copied to their
// scratch memory, and afterwards the newest ones home.
inline constexpr int kMostRings = 5;
struct RingsCall {
    BatchView batch;
    RingPlace rings[kMostRings];
    int count = 0;
};
void open_rings(const RingsCall& call, CudaStreamHandle stream);
void close_rings(const RingsCall& call, CudaStreamHandle stream);

}  // namespace cachalot::cuda
