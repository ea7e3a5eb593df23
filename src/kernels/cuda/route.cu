// The choice of experts by the router's logits.
//
//   logits [rows, E] -> ids, weights [rows, top_k]
//
// A warp for each row: lane i has the scores of experts i, i + 32, ...; the best is taken top_k times.
#include "device/cuda_error.h"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/route.h"

namespace cachalot::cuda {
namespace {

constexpr int kOfLane = kMostExperts / kWarp;

__device__ float affinity(float logit) {  // sqrt(softplus(x)), softplus linear above 20
    return sqrtf(logit > 20.0f ? logit : log1pf(expf(logit)));
}

__global__ void route_kernel(const cachalot::RouteCall c) {
    const std::int64_t row = blockIdx.x;
    const float* logits = c.logits + row * c.experts;
    std::int32_t* ids = c.ids + row * c.top_k;
    int chosen = 0;  // of lane i: choice i
    if (c.table) {
        if (lane() < c.top_k) chosen = c.table[std::int64_t(c.tokens[row]) * c.top_k + lane()];
    } else {
        float score[kOfLane];
#pragma unroll
        for (int i = 0; i < kOfLane; ++i) {
            const int e = i * kWarp + lane();
            score[i] = -INFINITY;
            if (e < c.experts) {
                const float s = affinity(logits[e]) + c.bias[e];
                score[i] = isnan(s) ? -INFINITY : s;
            }
        }
        std::uint32_t taken = 0;  // bit i: score[i] is
        for (int k = 0; k < c.top_k; ++k) {
            float best = -INFINITY;
            int id = kMostExperts;  // lowest number of those with the best score
#pragma unroll
            for (int i = 0; i < kOfLane; ++i) {
                const int e = i * kWarp + lane();
                if (e < c.experts && !(taken >> i & 1) && (id == kMostExperts || score[i] > best)) {
                    best = score[i];
                    id = e;
                }
            }
            for (int distance = kWarp / 2; distance > 0; distance /= 2) {
                const float other = __shfl_xor_sync(kAllLanes, best, distance);
                const int other_id = __shfl_xor_sync(kAllLanes, id, distance);
                if (other_id < kMostExperts &&
                    (id == kMostExperts || other > best || (other == best && other_id < id))) {
                    best = other;
                    id = other_id;
                }
            }
            if (id % kWarp == lane()) taken |= 1u << (id / kWarp);
            if (lane() == k) chosen = id;
        }
    }
    const float own = lane() < c.top_k ? affinity(logits[chosen]) : 0.0f;
    float sum = 0;
    for (int k = 0; k < c.top_k; ++k) sum += __shfl_sync(kAllLanes, own, k);
    if (lane() < c.top_k) {
        ids[lane()] = chosen;
        c.weights[row * c.top_k + lane()] = own / sum * c.scale;
    }
}

}  // namespace

void route(const cachalot::RouteCall& call, CudaStreamHandle stream) {
    if (call.rows == 0) return;
    route_kernel<<<static_cast<unsigned>(call.rows), kWarp, 0, stream>>>(call);
    check_launch("route_kernel");
}

}  // namespace cachalot::cuda
