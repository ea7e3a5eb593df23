// Sums and maxima over the threads of a warp and of a block. All threads get the result, and it does not
// depend on the run: the order of the additions is fixed.
#pragma once

#include <cstdint>

namespace cachalot::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ inline int warps() { return static_cast<int>(blockDim.x) / kWarp; }

__device__ inline float warp_sum(float v) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) v += __shfl_xor_sync(kAllLanes, v, distance);
    return v;
}
__device__ inline float warp_max(float v) {
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
        v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, distance));
    return v;
}

// The block has whole warps, at most 32. All of its threads come here.
__device__ inline float block_sum(float v) {
    __shared__ float of_warp[kWarp];
    v = warp_sum(v);
    __syncthreads();  // the last use of of_warp is over
    if (lane() == 0) of_warp[warp()] = v;
    __syncthreads();
    return warp_sum(lane() < warps() ? of_warp[lane()] : 0.0f);
}

// The inclusive sum over the threads of the warp before this one, and this one.
__device__ inline int warp_prefix(int v) {
    for (int distance = 1; distance < kWarp; distance *= 2) {
        const int other = __shfl_up_sync(kAllLanes, v, distance);
        if (lane() >= distance) v += other;
    }
    return v;
}

}  // namespace cachalot::cuda
