// What a layer keeps of new tokens.
//
//   latent:    kv [rows, D] ─ norm, rotation ─► a window row, rounded
//   compress:  kv, gate + ape [rows, width] ─► rings, float32
//              a token that completes a group: softmax over the group's tokens for each channel ─ norm,
//              rotation to the group's first token, Hadamard ─► a compressed row, rounded
//
// All kernels have a block for each row (grid: rows), which holds the row in shared memory. Groups are pooled
// in a kernel of their own, behind the one that fills the rings, since a group may have rows of many blocks.
// Without overlap a group has `ratio` tokens of n channels; with it twice as many: the first n channels of
// the tokens of the group before, and the last n of its own.
#include "device/cuda_error.h"
#include "kernels/cuda/remember.h"
#include "kernels/cuda/row_format.cuh"

namespace cachalot::cuda {
namespace {

constexpr int kThreads = 128;

extern __shared__ float row_memory[];  // [format.size]

__global__ void __launch_bounds__(kThreads) latent_kernel(const __grid_constant__ LatentCall c) {
    const int row = static_cast<int>(blockIdx.x), D = c.format.size, half = c.rotary.half;
    float* x = row_memory;
    for (int i = static_cast<int>(threadIdx.x); i < D; i += kThreads) x[i] = c.kv[std::int64_t(row) * D + i];
    rms_norm(x, c.norm, c.norm_eps, D);
    __syncthreads();
    rotate(x, D, half, [&](int i, float* sine, float* cosine) {
        *sine = c.rotary.sine[std::int64_t(row) * half + i];
        *cosine = c.rotary.cosine[std::int64_t(row) * half + i];
    });
    __syncthreads();
    const Sequence& s = c.batch.sequences[c.batch.sequence[row]];
    encode_row(c.format, x, c.window.view(s).row(c.batch.positions[row]));
}

__global__ void __launch_bounds__(kThreads) append_kernel(const __grid_constant__ CompressCall c) {
    const std::int64_t row = blockIdx.x, position = c.batch.positions[row];
    const Sequence& s = c.batch.sequences[c.batch.sequence[row]];
    float* kv = c.kv_state.view(s).floats(position);
    float* score = c.score_state.view(s).floats(position);
    const float* ape = c.ape ? c.ape + position % c.ratio * c.width : nullptr;
    for (int i = static_cast<int>(threadIdx.x); i < c.width; i += kThreads) {
        kv[i] = c.kv[row * c.width + i];
        score[i] = c.gate[row * c.width + i] + (ape ? ape[i] : 0.0f);
    }
}

// Channel `channel` of the pooled row of a group.
__device__ float pooled(const CompressCall& c, const Sequence& s, std::int64_t group, int channel) {
    const RingView kv = c.kv_state.view(s), score = c.score_state.view(s);
    const bool two = c.overlap && group > 0;  // groups
    const std::int64_t first = (two ? group - 1 : group) * c.ratio;
    const int tokens = two ? 2 * c.ratio : c.ratio;
    const auto channel_of = [&](int t) {
        return c.overlap && t >= tokens - c.ratio ? c.format.size + channel : channel;
    };
    float largest = -INFINITY;
    for (int t = 0; t < tokens; ++t) largest = fmaxf(largest, score.floats(first + t)[channel_of(t)]);
    float weight = 0, sum = 0;
    for (int t = 0; t < tokens; ++t) {
        const float e = expf(score.floats(first + t)[channel_of(t)] - largest);
        weight += e;
        sum += e * kv.floats(first + t)[channel_of(t)];
    }
    return sum / weight;
}

__global__ void __launch_bounds__(kThreads) pool_kernel(const __grid_constant__ CompressCall c) {
    const std::int64_t position = c.batch.positions[blockIdx.x];
    if ((position + 1) % c.ratio != 0) return;
    const Sequence& s = c.batch.sequences[c.batch.sequence[blockIdx.x]];
    const std::int64_t group = position / c.ratio;
    const int n = c.format.size;
    float* x = row_memory;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) x[i] = pooled(c, s, group, i);
    rms_norm(x, c.norm, c.norm_eps, n);
    __syncthreads();
    rotate(x, n, c.format.rotary / 2, [&](int i, float* sine, float* cosine) {
        sincosf(static_cast<float>(group * c.ratio) * c.frequencies[i], sine, cosine);
    });
    if (c.hadamard) hadamard(x, n);
    __syncthreads();
    encode_row(c.format, x, c.out.view(s).row(group));
}

// grid: rings, sequences. Rows of both rings begin on a multiple of four bytes.
__global__ void __launch_bounds__(kThreads) rings_kernel(const __grid_constant__ RingsCall c, bool open) {
    const RingPlace& ring = c.rings[blockIdx.x];
    const Sequence& s = c.batch.sequences[blockIdx.y];
    if (ring.scratch_rows(s.count) == 0) return;
    const RingView home = ring.home(s), large = ring.view(s), &from = open ? home : large,
                   &to = open ? large : home;
    const std::int64_t end = open ? s.start : s.start + s.count;
    const std::int64_t first = open ? max(std::int64_t(0), s.start - ring.keep)
                                    : s.start + max(std::int64_t(0), s.count - ring.capacity);
    for (std::int64_t p = first + warp(); p < end; p += warps()) {
        const auto* source = reinterpret_cast<const std::uint32_t*>(from.row(p));
        auto* target = reinterpret_cast<std::uint32_t*>(to.row(p));
        for (std::int64_t i = lane(); i < ring.row_bytes / 4; i += kWarp) target[i] = source[i];
    }
}

void copy_rings(const RingsCall& call, bool open, CudaStreamHandle stream) {
    bool any = false;
    for (int i = 0; i < call.count; ++i) any |= call.rings[i].scratch_rows(call.batch.longest) > 0;
    if (!any) return;
    rings_kernel<<<dim3(static_cast<unsigned>(call.count), static_cast<unsigned>(call.batch.sequence_count)),
                   kThreads, 0, stream>>>(call, open);
    check_launch("rings_kernel");
}

}  // namespace

void latent(const LatentCall& call, CudaStreamHandle stream) {
    if (call.batch.rows == 0) return;
    latent_kernel<<<static_cast<unsigned>(call.batch.rows), kThreads,
                    sizeof(float) * static_cast<std::size_t>(call.format.size), stream>>>(call);
    check_launch("latent_kernel");
}

void compress(const CompressCall& call, CudaStreamHandle stream) {
    if (call.batch.rows == 0) return;
    append_kernel<<<static_cast<unsigned>(call.batch.rows), kThreads, 0, stream>>>(call);
    check_launch("append_kernel");
    pool_kernel<<<static_cast<unsigned>(call.batch.rows), kThreads,
                  sizeof(float) * static_cast<std::size_t>(call.format.size), stream>>>(call);
    check_launch("pool_kernel");
}

void open_rings(const RingsCall& call, CudaStreamHandle stream) { copy_rings(call, true, stream); }
void close_rings(const RingsCall& call, CudaStreamHandle stream) { copy_rings(call, false, stream); }

}  // namespace cachalot::cuda
