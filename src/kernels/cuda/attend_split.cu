// Attention of the few rows of passes that write answers, on tensor cores.
//
//   q [rows, heads, D], keys: window rows, compressed rows -> out [rows, heads, D]        (attend.h)
//
// Two kernels. The first has a block for kHeads heads and kKeys keys of a row (grid: heads / kHeads, parts,
// rows; 8 warps). It brings its heads' queries and its keys to shared memory as BF16, takes all scores, and
// the values weighted with them:
//
//   scores [16, 64] = q [16, D] x keys [64, D]^T      warp w: keys 8w .. 8w + 7
//   sums [16, D] = p [16, 64] x keys [64, D]          warp w: columns D/8 w .. D/8 (w + 1)
//
// Keys of the states' formats are BF16 exactly. Queries and p are not: they are split into two BF16 numbers,
// whose sum has 16 bits, and multiplied one after the other; so the result is nearly that of float32. The
// second kernel has a block for each head and row (grid: heads, rows): it adds the parts, each scaled to the
// largest score of all, and turns the result back by its rotation. Which keys a part has depends on nothing
// but the number of keys.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "device/cuda_error.h"
#include "kernels/cuda/attend_keys.cuh"
#include "kernels/cuda/attend_split.h"
#include "kernels/cuda/stream.cuh"
#include "tensor/float_formats.h"

namespace cachalot::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kHeads = 16, kKeys = 64;
constexpr int kPad = 8;  // so that rows of a tile begin in different banks
constexpr int kScoreStride = kKeys + 4, kPStride = kKeys + kPad;

// Shared memory of the first kernel.
struct Layout {
    int stride, q, keys, scores, p, bytes;  // of a row, elements; then bytes
    __host__ __device__ explicit Layout(int D)
        : stride(D + kPad),
          q(0),
          keys(2 * kHeads * stride * 2),
          scores(keys + kKeys * stride * 2),
          p(scores + kHeads * kScoreStride * 4),
          bytes(p + 2 * kHeads * kPStride * 2) {}
};

struct Split {  // f = high + low, nearly
    __nv_bfloat16 high, low;
    __device__ explicit Split(float f)
        : high(__float2bfloat16_rn(f)), low(__float2bfloat16_rn(f - __bfloat162float(high))) {}
};

// Fragments of m16n8k16: A four registers, B two, from rows of 16-bit elements in shared memory.
__device__ void load_a(unsigned (&a)[4], const __nv_bfloat16* tile, int stride) {
    const __nv_bfloat16* row = tile + lane() % 16 * stride + lane() / 16 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(shared_address(row)));
}
// B[k][n] = tile[n][k]: rows are columns of B.
__device__ void load_b(unsigned (&b)[2], const __nv_bfloat16* tile, int stride) {
    const __nv_bfloat16* row = tile + lane() % 8 * stride + lane() / 8 % 2 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(b[0]), "=r"(b[1])
                 : "r"(shared_address(row)));
}
// B[k][n] = tile[k][n].
__device__ void load_b_rows(unsigned (&b)[2], const __nv_bfloat16* tile, int stride) {
    const __nv_bfloat16* row = tile + lane() % 16 * stride;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(b[0]), "=r"(b[1])
                 : "r"(shared_address(row)));
}
__device__ void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Eight values of a row of format fp8_kv, piece `i` of its bytes, as BF16.
__device__ uint4 decoded_piece(const RowFormat& format, const std::byte* row, int i) {
    const int plain = format.size - format.rotary;
    if (8 * i >= plain) {  // rows begin at multiples of 8
        const auto* halves = reinterpret_cast<const uint2*>(row + plain + 2 * (8 * i - plain));
        return {halves[0].x, halves[0].y, halves[1].x, halves[1].y};
    }
    const uint2 codes = *reinterpret_cast<const uint2*>(row + 8 * i);
    const float scale =
        e8m0_to_f32(static_cast<std::uint8_t>(row[plain + 2 * format.rotary + 8 * i / kKvQuantGroup]));
    uint4 eight;
    auto* out = reinterpret_cast<__nv_bfloat162*>(&eight);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const auto pair = static_cast<__nv_fp8x2_storage_t>((k < 2 ? codes.x : codes.y) >> (16 * (k % 2)));
        const float2 v = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3)));
        out[k] = __floats2bfloat162_rn(v.x * scale, v.y * scale);
    }
    return eight;
}

// A part of a row: for each head the largest score, the sum of the weights, and the weighted sum of the keys.
struct Part {
    float* sums;     // [rows, parts, heads, D]
    float* largest;  // [rows, parts, heads]
    float* weights;  // [rows, parts, heads]
    __host__ __device__ Part(float* room, std::int64_t rows, std::int64_t parts, std::int64_t heads,
                             std::int64_t D)
        : sums(room), largest(room + rows * parts * heads * D), weights(largest + rows * parts * heads) {}
};

// Scores of the block's heads and of keys 8 * warp ..; then p = exp(score - largest) in two parts.
__device__ void take_scores(const AttendCall& c, const Layout& at, std::byte* memory, int keys) {
    const auto* q = reinterpret_cast<const __nv_bfloat16*>(memory + at.q);
    const auto* k = reinterpret_cast<const __nv_bfloat16*>(memory + at.keys) + warp() * 8 * at.stride;
    auto* scores = reinterpret_cast<float*>(memory + at.scores);
    float sum[4] = {};
    for (int d = 0; d < c.window_format.size; d += 16) {
        unsigned high[4], low[4], b[2];
        load_a(high, q + d, at.stride);
        load_a(low, q + kHeads * at.stride + d, at.stride);
        load_b(b, k + d, at.stride);
        multiply(sum, high, b);
        multiply(sum, low, b);
    }
    const float scale = rsqrtf(static_cast<float>(c.window_format.size));
    const int head = lane() / 4, key = warp() * 8 + lane() % 4 * 2;
    for (int i = 0; i < 4; ++i)
        scores[(head + i / 2 * 8) * kScoreStride + key + i % 2] =
            key + i % 2 < keys ? sum[i] * scale : -INFINITY;
}

// Warp w has heads w and w + 8.
__device__ void take_weights(const Layout& at, std::byte* memory, const Part& part, std::int64_t first) {
    const auto* scores = reinterpret_cast<const float*>(memory + at.scores);
    auto* p = reinterpret_cast<__nv_bfloat16*>(memory + at.p);
    for (int head = warp(); head < kHeads; head += kWarps) {
        const float a = scores[head * kScoreStride + lane()],
                    b = scores[head * kScoreStride + kWarp + lane()];
        const float largest = warp_max(fmaxf(a, b));
        const Split pa(expf(a - largest)), pb(expf(b - largest));
        __nv_bfloat16 *high = p + head * kPStride, *low = high + kHeads * kPStride;
        high[lane()] = pa.high, low[lane()] = pa.low;
        high[kWarp + lane()] = pb.high, low[kWarp + lane()] = pb.low;
        const auto value = [](const Split& s) { return __bfloat162float(s.high) + __bfloat162float(s.low); };
        const float weight = warp_sum(value(pa) + value(pb));
        if (lane() == 0) {
            part.largest[first + head] = largest;
            part.weights[first + head] = weight;
        }
    }
}

__global__ void __launch_bounds__(kThreads)
    attend_part_kernel(const __grid_constant__ AttendCall c, float* room) {
    extern __shared__ __align__(128) std::byte memory[];
    __shared__ const std::byte* key_rows[kKeys];
    const std::int64_t row = blockIdx.z, part_number = blockIdx.y, first_key = part_number * kKeys;
    const int D = c.window_format.size, first_head = static_cast<int>(blockIdx.x) * kHeads;
    const int thread = static_cast<int>(threadIdx.x);
    const Layout at(D);
    wait_for_inputs();
    let_next_begin();
    const Keys seen(c, row);
    if (first_key >= seen.count) return;
    const int keys = static_cast<int>(min(std::int64_t(kKeys), seen.count - first_key));
    if (thread < keys) key_rows[thread] = seen.row(first_key + thread);
    auto* q = reinterpret_cast<__nv_bfloat16*>(memory + at.q);
    const float* from = c.q + (row * c.heads + first_head) * D;
    for (int i = thread; i < kHeads * D; i += kThreads) {
        const Split split(from[i]);
        q[i / D * at.stride + i % D] = split.high;
        q[(kHeads + i / D) * at.stride + i % D] = split.low;
    }
    __syncthreads();
    auto* tile = reinterpret_cast<__nv_bfloat16*>(memory + at.keys);
    for (int i = thread; i < kKeys * (D / 8); i += kThreads) {
        const int key = i / (D / 8), piece = i % (D / 8);
        *reinterpret_cast<uint4*>(tile + key * at.stride + 8 * piece) =
            key < keys ? decoded_piece(c.window_format, key_rows[key], piece) : uint4{};
    }
    __syncthreads();
    take_scores(c, at, memory, keys);
    __syncthreads();
    const std::int64_t parts = gridDim.y;
    const Part part(room, gridDim.z, parts, c.heads, D);
    const std::int64_t first = (row * parts + part_number) * c.heads + first_head;
    take_weights(at, memory, part, first);
    __syncthreads();
    const auto* p = reinterpret_cast<const __nv_bfloat16*>(memory + at.p);
    unsigned high[kKeys / 16][4], low[kKeys / 16][4];
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
        load_a(high[k], p + 16 * k, kPStride);
        load_a(low[k], p + kHeads * kPStride + 16 * k, kPStride);
    }
    for (int d = warp() * (D / kWarps); d < (warp() + 1) * (D / kWarps); d += 8) {
        float sum[4] = {};
#pragma unroll
        for (int k = 0; k < kKeys / 16; ++k) {
            unsigned b[2];
            load_b_rows(b, tile + 16 * k * at.stride + d, at.stride);
            multiply(sum, high[k], b);
            multiply(sum, low[k], b);
        }
        float* out = part.sums + (first + lane() / 4) * D + d + lane() % 4 * 2;
        *reinterpret_cast<float2*>(out) = {sum[0], sum[1]};
        *reinterpret_cast<float2*>(out + 8 * D) = {sum[2], sum[3]};
    }
}

// A thread has pairs of columns, which are rotated together.
__global__ void attend_sum_kernel(const __grid_constant__ AttendCall c, float* room, int parts) {
    wait_for_inputs();
    let_next_begin();
    const std::int64_t row = blockIdx.y, head = blockIdx.x, D = c.window_format.size;
    const Part all(room, gridDim.y, parts, c.heads, D);
    const int used = static_cast<int>((Keys(c, row).count + kKeys - 1) / kKeys);
    const auto at = [&](int part) { return (row * parts + part) * c.heads + head; };
    float largest = -INFINITY;
    for (int i = 0; i < used; ++i) largest = fmaxf(largest, all.largest[at(i)]);
    float total = expf(c.sinks[head] - largest);
    for (int i = 0; i < used; ++i) total += expf(all.largest[at(i)] - largest) * all.weights[at(i)];
    const int half = c.rotary.half;
    for (int pair = static_cast<int>(threadIdx.x); pair < D / 2; pair += static_cast<int>(blockDim.x)) {
        float2 sum{};
        for (int i = 0; i < used; ++i) {
            const float scale = expf(all.largest[at(i)] - largest);
            const float2 v = *reinterpret_cast<const float2*>(all.sums + at(i) * D + 2 * pair);
            sum.x += scale * v.x;
            sum.y += scale * v.y;
        }
        sum.x /= total;
        sum.y /= total;
        // Keys are values, so the output carries their rotation; turning it back makes it relative to the
        // query.
        if (const auto angle = pair - (D / 2 - half); angle >= 0) {
            const float cosine = c.rotary.cosine[row * half + angle],
                        sine = -c.rotary.sine[row * half + angle];
            sum = {sum.x * cosine - sum.y * sine, sum.x * sine + sum.y * cosine};
        }
        *reinterpret_cast<float2*>(c.out + (row * c.heads + head) * D + 2 * pair) = sum;
    }
}

}  // namespace

bool can_split(const AttendCall& c) {
    const auto fits = [&](const RowFormat& f) {
        return f.kind == RowFormat::Kind::fp8_kv && f.size == c.window_format.size && f.size % 64 == 0 &&
               f.size <= 512 && f.rotary % 8 == 0;
    };
    return c.heads % kHeads == 0 && fits(c.window_format) && (c.ratio == 0 || fits(c.compressed_format));
}

std::int64_t parts_of_keys(std::int64_t most_keys) { return (most_keys + kKeys - 1) / kKeys; }

void attend_split(const AttendCall& c, std::int64_t most_keys, float* room, CudaStreamHandle stream) {
    if (c.batch.rows == 0) return;
    const Layout layout(c.window_format.size);
    check_cuda(
        cudaFuncSetAttribute(attend_part_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, layout.bytes),
        "cudaFuncSetAttribute");
    const auto parts = static_cast<unsigned>(parts_of_keys(most_keys)),
               rows = static_cast<unsigned>(c.batch.rows);
    attend_part_kernel<<<dim3(static_cast<unsigned>(c.heads / kHeads), parts, rows), kThreads,
                         static_cast<std::size_t>(layout.bytes), stream>>>(c, room);
    check_launch("attend_part_kernel");
    attend_sum_kernel<<<dim3(static_cast<unsigned>(c.heads), rows), 128, 0, stream>>>(
        c, room, static_cast<int>(parts));
    check_launch("attend_sum_kernel");
}

}  // namespace cachalot::cuda
