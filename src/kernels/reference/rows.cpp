#include "kernels/reference/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/float_formats.h"

namespace cachalot {
namespace {

float largest_magnitude(const float* x, int n) {
    float amax = 0;
    for (int i = 0; i < n; ++i) amax = std::max(amax, std::fabs(x[i]));
    return amax;
}

// Exponent of the power-of-two scale that brings max|x| to at most `largest`. Clamped to what E8M0 and a
// float can hold, so that rows with NaN or infinity in them (broken weights) stay defined.
int scale_exponent(float amax, float floor, float largest) {
    amax = std::max(amax, floor);
    if (!(amax < 0x1p120f)) amax = 0x1p120f;
    return ceil_log2(amax * (1.0f / largest));
}

constexpr float kFp8Floor = 1e-4f;
constexpr float kFp4Floor = 6 * 0x1p-126f;
constexpr float kFp4ScaleFloor = 6 * 0x1p-9f;  // of groups with an E4M3 scale: its smallest value

// Values as E4M3 with a power of two for each `group` of them.
void encode_fp8(const float* x, int n, int group, std::uint8_t* values, std::uint8_t* scales) {
    for (int g = 0; g < n / group; ++g) {
        const int e = scale_exponent(largest_magnitude(x + g * group, group), kFp8Floor, 448.0f);
        const float inverse = exp2i(-e);
        for (int i = g * group; i < (g + 1) * group; ++i) values[i] = f32_to_e4m3(x[i] * inverse);
        scales[g] = static_cast<std::uint8_t>(e + 127);
    }
}

void encode_e2m1(const float* x, int n, float divisor, std::uint8_t* pairs) {
    for (int i = 0; i < n; i += 2) {
        const auto low = f32_to_e2m1(x[i] / divisor), high = f32_to_e2m1(x[i + 1] / divisor);
        pairs[i / 2] = static_cast<std::uint8_t>(low | (high << 4));
    }
}

// The E4M3 scale of a group; broken weights (NaN, infinity) get the largest.
std::uint8_t fp4_scale(const float* x, int n) {
    float amax = std::max(largest_magnitude(x, n), kFp4ScaleFloor);
    if (!(amax < 6 * 448.0f)) amax = 6 * 448.0f;
    return f32_to_e4m3(amax / 6.0f);
}

float e2m1_at(const std::uint8_t* pairs, int i) {
    const int code = i % 2 ? pairs[i / 2] >> 4 : pairs[i / 2] & 15;
    return e2m1_to_f32(static_cast<std::uint8_t>(code));
}

}  // namespace

void encode_row(const RowFormat& format, const float* x, std::byte* row) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(row);
    switch (format.kind) {
        case RowFormat::Kind::f32:
            std::memcpy(row, x, sizeof(float) * static_cast<std::size_t>(format.size));
            return;
        case RowFormat::Kind::fp8_kv: {
            int plain = format.size - format.rotary;
            std::uint8_t* rotated = bytes + plain;
            std::uint8_t* scales = rotated + 2 * format.rotary;
            encode_fp8(x, plain, kKvQuantGroup, bytes, scales);
            for (int i = 0; i < format.rotary; ++i) {
                auto half = f32_to_bf16(x[plain + i]);
                std::memcpy(rotated + 2 * i, &half, 2);
            }
            // The padding, too: states are compared, and kept, byte for byte.
            std::fill(scales + plain / kKvQuantGroup, bytes + format.bytes(), std::uint8_t{0});
            return;
        }
        case RowFormat::Kind::fp8_32:
            return encode_fp8(x, format.size, kFp8QuantGroup, bytes, bytes + format.size);
        case RowFormat::Kind::fp4_16:
            for (int g = 0; g < format.size / kFp4QuantGroup; ++g) {
                const float* group = x + g * kFp4QuantGroup;
                const std::uint8_t scale = fp4_scale(group, kFp4QuantGroup);
                bytes[format.size / 2 + g] = scale;
                encode_e2m1(group, kFp4QuantGroup, e4m3_to_f32(scale), bytes + g * kFp4QuantGroup / 2);
            }
            return;
        case RowFormat::Kind::fp4_key:
            for (int g = 0; g < format.size / kKeyQuantGroup; ++g) {
                const float* group = x + g * kKeyQuantGroup;
                const int e = scale_exponent(largest_magnitude(group, kKeyQuantGroup), kFp4Floor, 6.0f);
                bytes[format.size / 2 + g] = static_cast<std::uint8_t>(e + 127);
                encode_e2m1(group, kKeyQuantGroup, exp2i(e), bytes + g * kKeyQuantGroup / 2);
            }
            return;
    }
}

void decode_row(const RowFormat& format, const std::byte* row, float* x) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(row);
    switch (format.kind) {
        case RowFormat::Kind::f32:
            std::memcpy(x, row, sizeof(float) * static_cast<std::size_t>(format.size));
            return;
        case RowFormat::Kind::fp8_kv: {
            int plain = format.size - format.rotary;
            const std::uint8_t* rotated = bytes + plain;
            const std::uint8_t* scales = rotated + 2 * format.rotary;
            for (int i = 0; i < plain; ++i)
                x[i] = e4m3_to_f32(bytes[i]) * e8m0_to_f32(scales[i / kKvQuantGroup]);
            for (int i = 0; i < format.rotary; ++i) {
                std::uint16_t half;
                std::memcpy(&half, rotated + 2 * i, 2);
                x[plain + i] = bf16_to_f32(half);
            }
            return;
        }
        case RowFormat::Kind::fp8_32:
            for (int i = 0; i < format.size; ++i)
                x[i] = e4m3_to_f32(bytes[i]) * e8m0_to_f32(bytes[format.size + i / kFp8QuantGroup]);
            return;
        case RowFormat::Kind::fp4_16:
            for (int i = 0; i < format.size; ++i)
                x[i] = e2m1_at(bytes, i) * e4m3_to_f32(bytes[format.size / 2 + i / kFp4QuantGroup]);
            return;
        case RowFormat::Kind::fp4_key:
            for (int i = 0; i < format.size; ++i)
                x[i] = e2m1_at(bytes, i) * e8m0_to_f32(bytes[format.size / 2 + i / kKeyQuantGroup]);
            return;
    }
}

void hadamard(float* x, int n) {
    for (int stride = 1; stride < n; stride *= 2)
        for (int i = 0; i < n; i += 2 * stride)
            for (int j = i; j < i + stride; ++j) {
                float a = x[j], b = x[j + stride];
                x[j] = a + b;
                x[j + stride] = a - b;
            }
    float scale = 1.0f / std::sqrt(static_cast<float>(n));
    for (int i = 0; i < n; ++i) x[i] *= scale;
}

void round_fp4(float* x, int n) {
    for (int g = 0; g < n; g += kKeyQuantGroup) {
        int e = scale_exponent(largest_magnitude(x + g, kKeyQuantGroup), kFp4Floor, 6.0f);
        float scale = exp2i(e), inverse = exp2i(-e);
        for (int i = g; i < g + kKeyQuantGroup; ++i) x[i] = e2m1_to_f32(f32_to_e2m1(x[i] * inverse)) * scale;
    }
}

}  // namespace cachalot
