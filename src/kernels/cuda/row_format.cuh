// Cached rows (kernels/views.h): how they are written by a block and read by any thread. The bytes are those
// of encode_row (kernels/reference/rows.h).
#pragma once

#include "kernels/cuda/block.cuh"
#include "kernels/views.h"
#include "tensor/float_formats.h"

namespace cachalot::cuda {

// As in kernels/reference/rows.cpp.
__device__ inline int scale_exponent(float largest_magnitude, float floor, float largest) {
    float amax = fmaxf(largest_magnitude, floor);
    if (!(amax < 0x1p120f)) amax = 0x1p120f;
    return ceil_log2(amax * (1.0f / largest));
}
constexpr float kFp8Floor = 1e-4f;
constexpr float kFp4Floor = 6 * 0x1p-126f;

// The largest magnitude of x[begin, end); of a warp.
__device__ inline float largest_magnitude(const float* x, int begin, int end) {
    float largest = 0;
    for (int i = begin + lane(); i < end; i += kWarp) {
        const float a = fabsf(x[i]);
        largest = fmaxf(largest, a);  // which passes NaN by, as the reference does
    }
    return warp_max(largest);
}

// E4M3 with a power of two for each `group` of n values; a warp for each group.
__device__ inline void encode_fp8(const float* x, int n, int group, std::uint8_t* values,
                                  std::uint8_t* scales) {
    for (int g = warp(); g < n / group; g += warps()) {
        const int e = scale_exponent(largest_magnitude(x, g * group, (g + 1) * group), kFp8Floor, 448.0f);
        const float inverse = exp2i(-e);
        for (int i = g * group + lane(); i < (g + 1) * group; i += kWarp)
            values[i] = f32_to_e4m3(x[i] * inverse);
        if (lane() == 0) scales[g] = static_cast<std::uint8_t>(e + 127);
    }
}

// Writes x[0, format.size), which lies in shared memory and is complete, as a row. V4's formats.
__device__ inline void encode_row(const RowFormat& format, const float* x, std::byte* row) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(row);
    const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    if (format.kind == RowFormat::Kind::f32) {
        for (int i = thread; i < format.size; i += threads) reinterpret_cast<float*>(row)[i] = x[i];
    } else if (format.kind == RowFormat::Kind::fp8_kv) {
        const int plain = format.size - format.rotary;
        auto* rotated = reinterpret_cast<std::uint16_t*>(bytes + plain);
        std::uint8_t* scales = bytes + plain + 2 * format.rotary;
        encode_fp8(x, plain, kKvQuantGroup, bytes, scales);
        for (int i = thread; i < format.rotary; i += threads) rotated[i] = f32_to_bf16(x[plain + i]);
        for (std::uint8_t* p = scales + plain / kKvQuantGroup + thread; p < bytes + format.bytes();
             p += threads)
            *p = 0;  // the padding, too: states are compared, and kept, byte for byte
    } else if (format.kind == RowFormat::Kind::fp4_key) {
        for (int g = warp(); g < format.size / kKeyQuantGroup; g += warps()) {
            const int first = g * kKeyQuantGroup;
            const int e =
                scale_exponent(largest_magnitude(x, first, first + kKeyQuantGroup), kFp4Floor, 6.0f);
            const std::uint8_t code = f32_to_e2m1(x[first + lane()] / exp2i(e));
            const int next = __shfl_down_sync(kAllLanes, int(code), 1);
            if (lane() % 2 == 0) bytes[(first + lane()) / 2] = static_cast<std::uint8_t>(code | next << 4);
            if (lane() == 0) bytes[format.size / 2 + g] = static_cast<std::uint8_t>(e + 127);
        }
    }
}
static_assert(kKeyQuantGroup == kWarp);

// Element i of a row.
__device__ inline float row_element(const RowFormat& format, const std::byte* row, int i) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(row);
    if (format.kind == RowFormat::Kind::f32) return reinterpret_cast<const float*>(row)[i];
    if (format.kind == RowFormat::Kind::fp4_key) {
        const auto code = static_cast<std::uint8_t>(bytes[i / 2] >> (i % 2 * 4) & 15);
        return e2m1_to_f32(code) * e8m0_to_f32(bytes[format.size / 2 + i / kKeyQuantGroup]);
    }
    const int plain = format.size - format.rotary;  // fp8_kv
    if (i >= plain) return bf16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes + plain)[i - plain]);
    return e4m3_to_f32(bytes[i]) * e8m0_to_f32(bytes[plain + 2 * format.rotary + i / kKvQuantGroup]);
}

// x[0, n), in shared memory: rounded as encode_row(fp4_key) and reading it again would. A warp for each
// group.
__device__ inline void round_fp4(float* x, int n) {
    for (int g = warp(); g < n / kKeyQuantGroup; g += warps()) {
        const int first = g * kKeyQuantGroup;
        const int e = scale_exponent(largest_magnitude(x, first, first + kKeyQuantGroup), kFp4Floor, 6.0f);
        x[first + lane()] = e2m1_to_f32(f32_to_e2m1(x[first + lane()] * exp2i(-e))) * exp2i(e);
    }
}

// The last 2 * half of x[0, n), in shared memory, rotated by angle(i) of pair i. The block has been
// synchronised before.
template <class Angle>
__device__ void rotate(float* x, int n, int half, const Angle& angle) {
    float* pairs = x + n - 2 * half;
    for (int i = static_cast<int>(threadIdx.x); i < half; i += static_cast<int>(blockDim.x)) {
        float sine, cosine;
        angle(i, &sine, &cosine);
        const float re = pairs[2 * i], im = pairs[2 * i + 1];
        pairs[2 * i] = re * cosine - im * sine;
        pairs[2 * i + 1] = re * sine + im * cosine;
    }
}

// x[0, n) = H x / sqrt(n), in shared memory, n a power of two. Synchronises the block before each step, and
// not after the last.
__device__ inline void hadamard(float* x, int n) {
    for (int stride = 1; stride < n; stride *= 2) {
        __syncthreads();
        for (int p = static_cast<int>(threadIdx.x); p < n / 2; p += static_cast<int>(blockDim.x)) {
            const int i = p / stride * 2 * stride + p % stride;
            const float a = x[i], b = x[i + stride];
            x[i] = a + b;
            x[i + stride] = a - b;
        }
    }
    __syncthreads();
    const float scale = 1.0f / sqrtf(static_cast<float>(n));
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) x[i] *= scale;
}

// x[0, n), in shared memory, = x / rms(x) * weight.
__device__ inline void rms_norm(float* x, const float* weight, float eps, int n) {
    float squares = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x))
        squares += x[i] * x[i];
    const float factor = rsqrtf(block_sum(squares) / static_cast<float>(n) + eps);
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x))
        x[i] = x[i] * factor * weight[i];
}

}  // namespace cachalot::cuda
