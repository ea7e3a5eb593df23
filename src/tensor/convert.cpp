#include "tensor/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tensor/float_formats.h"
#include "tensor/iq_quants.h"
#include "tensor/k_quants.h"
#include "tensor/plain_quants.h"
#include "tensor/unaligned.h"

namespace cachalot {
namespace {

template <class T>
void store(std::byte* p, T v) {
    std::memcpy(p, &v, sizeof v);
}

float largest_magnitude(std::span<const float> values) {
    float amax = 0;
    for (float v : values) {
        if (!std::isfinite(v)) fail("cannot quantise: the value {} is not finite", v);
        amax = std::max(amax, std::fabs(v));
    }
    return amax;
}

void quantize_q8_0(std::span<const float> block, std::byte* out) {
    float scale = largest_magnitude(block) / 127.0f;
    auto half = f32_to_f16(scale);
    if ((half & 0x7fff) >= 0x7c00) fail("cannot quantise to q8_0: a block reaches {}", scale * 127.0f);
    store(out, half);
    float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (std::size_t i = 0; i < block.size(); ++i) {
        float q = std::clamp(std::nearbyint(block[i] * inverse), -127.0f, 127.0f);
        store(out + 2 + i, static_cast<std::int8_t>(q));
    }
}

void quantize_mxfp4(std::span<const float> block, std::byte* out) {
    float amax = largest_magnitude(block);
    int exponent = 0;  // of the scale; 4 <= amax / 2^exponent < 8
    if (amax > 0) exponent = std::clamp(std::ilogb(amax) - 2, -127, 127);
    store(out, static_cast<std::uint8_t>(exponent + 127));
    for (std::size_t i = 0; i < 16; ++i) {
        auto low = f32_to_e2m1(std::ldexp(block[i], -exponent));
        auto high = f32_to_e2m1(std::ldexp(block[i + 16], -exponent));
        store(out + 1 + i, static_cast<std::uint8_t>(low | (high << 4)));
    }
}

void dequantize_mxfp4(const std::byte* block, float* out) {
    const float scale = e8m0_to_f32(load_unaligned<std::uint8_t>(block));
    for (int i = 0; i < 16; ++i) {
        const auto byte = load_unaligned<std::uint8_t>(block + 1 + i);
        out[i] = e2m1_to_f32(byte & 15) * scale;
        out[16 + i] = e2m1_to_f32(byte >> 4) * scale;
    }
}

void dequantize_q8_0(const std::byte* block, float* out) {
    const float scale = f16_to_f32(load_unaligned<std::uint16_t>(block));
    for (int i = 0; i < 32; ++i) out[i] = load_unaligned<std::int8_t>(block + 2 + i) * scale;
}

}  // namespace

bool is_float_like(DType type) {
    switch (type) {
        case DType::f32:
        case DType::f16:
        case DType::bf16:
        case DType::f8_e4m3:
        case DType::fp4_pairs: return true;
        default: return block_decoder(type) != nullptr;
    }
}

BlockDecoder block_decoder(DType type) {
    switch (type) {
        case DType::mxfp4: return dequantize_mxfp4;
        case DType::q8_0: return dequantize_q8_0;
        case DType::q4_0: return dequantize_q4_0;
        case DType::q4_1: return dequantize_q4_1;
        case DType::q5_0: return dequantize_q5_0;
        case DType::q5_1: return dequantize_q5_1;
        case DType::q2_k: return dequantize_q2_k;
        case DType::q3_k: return dequantize_q3_k;
        case DType::q4_k: return dequantize_q4_k;
        case DType::q5_k: return dequantize_q5_k;
        case DType::q6_k: return dequantize_q6_k;
        case DType::iq2_xxs: return dequantize_iq2_xxs;
        case DType::iq4_nl: return dequantize_iq4_nl;
        case DType::iq4_xs: return dequantize_iq4_xs;
        case DType::iq2_xs: return dequantize_iq2_xs;
        case DType::iq2_s: return dequantize_iq2_s;
        case DType::iq3_xxs: return dequantize_iq3_xxs;
        case DType::iq3_s: return dequantize_iq3_s;
        case DType::iq1_s: return dequantize_iq1_s;
        case DType::iq1_m: return dequantize_iq1_m;
        default: return nullptr;
    }
}

void dequantize_row(const Matrix& m, std::int64_t row, std::span<float> out) {
    CACHALOT_CHECK(static_cast<std::int64_t>(out.size()) == m.columns);
    const std::byte* p = m.row(row);
    std::int64_t n = m.columns;
    switch (m.dtype) {
        case DType::f32: std::memcpy(out.data(), p, out.size_bytes()); return;
        case DType::f16:
            for (std::int64_t i = 0; i < n; ++i)
                out[i] = f16_to_f32(load_unaligned<std::uint16_t>(p + 2 * i));
            return;
        case DType::bf16:
            for (std::int64_t i = 0; i < n; ++i)
                out[i] = bf16_to_f32(load_unaligned<std::uint16_t>(p + 2 * i));
            return;
        case DType::f8_e4m3: {
            const std::uint8_t* scales = m.row_scales(row);
            for (std::int64_t i = 0; i < n; ++i)
                out[i] =
                    e4m3_to_f32(load_unaligned<std::uint8_t>(p + i)) * e8m0_to_f32(scales[i / m.fp8_block]);
            return;
        }
        case DType::fp4_pairs: {
            const std::uint8_t* scales = m.row_scales(row);
            for (std::int64_t i = 0; i < n; ++i) {
                auto byte = load_unaligned<std::uint8_t>(p + i / 2);
                out[i] = e2m1_to_f32(i % 2 ? byte >> 4 : byte & 15) * e8m0_to_f32(scales[i / kFp4Block]);
            }
            return;
        }
        default: break;
    }
    const auto decode = block_decoder(m.dtype);
    if (!decode) fail("a tensor of type {} cannot be read as numbers", name(m.dtype));
    const auto [type, elements, bytes] = info(m.dtype);
    for (std::int64_t i = 0; i < n; i += elements, p += bytes) decode(p, out.data() + i);
}

void quantize_row(DType type, std::span<const float> values, std::span<std::byte> out) {
    CACHALOT_CHECK(static_cast<std::int64_t>(out.size()) ==
                   row_bytes(type, static_cast<std::int64_t>(values.size())));
    std::byte* p = out.data();
    switch (type) {
        case DType::f32: std::memcpy(p, values.data(), values.size_bytes()); return;
        case DType::f16:
            for (float v : values) store(p, f32_to_f16(v)), p += 2;
            return;
        case DType::bf16:
            for (float v : values) store(p, f32_to_bf16(v)), p += 2;
            return;
        case DType::q8_0:
            for (std::size_t b = 0; b < values.size(); b += 32, p += 34)
                quantize_q8_0(values.subspan(b, 32), p);
            return;
        case DType::mxfp4:
            for (std::size_t b = 0; b < values.size(); b += 32, p += 17)
                quantize_mxfp4(values.subspan(b, 32), p);
            return;
        default: fail("cannot convert to type {}", name(type));
    }
}

void repack_fp4_row(const std::uint8_t* pairs, const std::uint8_t* scales, std::int64_t columns,
                    std::span<std::byte> out) {
    CACHALOT_CHECK(static_cast<std::int64_t>(out.size()) == row_bytes(DType::mxfp4, columns));
    std::byte* p = out.data();
    for (std::int64_t b = 0; b < columns / 32; ++b, p += 17, pairs += 16) {
        store(p, scales[b]);
        for (int i = 0; i < 8; ++i) {  // values 2i, 2i + 1 and 16 + 2i, 17 + 2i
            store(p + 1 + 2 * i, static_cast<std::uint8_t>((pairs[i] & 15) | pairs[8 + i] << 4));
            store(p + 2 + 2 * i, static_cast<std::uint8_t>(pairs[i] >> 4 | (pairs[8 + i] & 0xf0)));
        }
    }
}

void unpack_mxfp4_row(const std::byte* blocks, std::int64_t columns, std::uint8_t* pairs,
                      std::uint8_t* scales) {
    for (std::int64_t b = 0; b < columns / 32; ++b, blocks += 17, pairs += 16) {
        scales[b] = load_unaligned<std::uint8_t>(blocks);
        const auto byte = [&](int i) { return load_unaligned<std::uint8_t>(blocks + 1 + i); };
        for (int i = 0; i < 8; ++i) {
            pairs[i] = static_cast<std::uint8_t>((byte(2 * i) & 15) | byte(2 * i + 1) << 4);
            pairs[8 + i] = static_cast<std::uint8_t>(byte(2 * i) >> 4 | (byte(2 * i + 1) & 0xf0));
        }
    }
}

}  // namespace cachalot
