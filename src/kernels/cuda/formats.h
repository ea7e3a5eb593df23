// Weights of any type as numbers, 32 at a time: the slow and general way in which a card reads them.
//
// A group is 32 neighbouring columns of a row, from a column that is a multiple of 32 on; every type of
// dtype.h, which draws the layouts, is made of whole groups. The values are those of dequantize_row
// (tensor/convert.h), bit for bit; tests/cuda compares them on the host, for which these functions are
// compiled, too.
#pragma once

#include <cstdint>

#include "kernels/cuda/grids.h"
#include "tensor/float_formats.h"
#include "tensor/matrix.h"

namespace cachalot::cuda {

inline constexpr int kGroup = 32;

// One type each: the group `g` of a row that begins at `row`.
namespace formats {

CACHALOT_BOTH inline unsigned u16(const std::uint8_t* p) { return p[0] | unsigned(p[1]) << 8; }
CACHALOT_BOTH inline std::uint32_t u32(const std::uint8_t* p) {
    return u16(p) | std::uint32_t(u16(p + 2)) << 16;
}
CACHALOT_BOTH inline float half(const std::uint8_t* p) {
    return f16_to_f32(static_cast<std::uint16_t>(u16(p)));
}
CACHALOT_BOTH inline unsigned nibble(const std::uint8_t* p, int i) { return p[i / 2] >> (i % 2 * 4) & 15u; }

CACHALOT_BOTH inline void f32(const std::uint8_t* row, std::int64_t g, float* out) {
    const auto* from = reinterpret_cast<const float*>(row) + g * kGroup;
    for (int i = 0; i < kGroup; ++i) out[i] = from[i];
}
CACHALOT_BOTH inline void f16(const std::uint8_t* row, std::int64_t g, float* out) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(row) + g * kGroup;
    for (int i = 0; i < kGroup; ++i) out[i] = f16_to_f32(from[i]);
}
CACHALOT_BOTH inline void bf16(const std::uint8_t* row, std::int64_t g, float* out) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(row) + g * kGroup;
    for (int i = 0; i < kGroup; ++i) out[i] = bf16_to_f32(from[i]);
}
CACHALOT_BOTH inline void f8_e4m3(const std::uint8_t* row, std::int64_t g, std::uint8_t scale, float* out) {
    for (int i = 0; i < kGroup; ++i) out[i] = e4m3_to_f32(row[g * kGroup + i]) * e8m0_to_f32(scale);
}
CACHALOT_BOTH inline void fp4_pairs(const std::uint8_t* row, std::int64_t g, std::uint8_t scale, float* out) {
    const std::uint8_t* pairs = row + g * (kGroup / 2);
    for (int i = 0; i < kGroup; ++i)
        out[i] = e2m1_to_f32(static_cast<std::uint8_t>(nibble(pairs, i))) * e8m0_to_f32(scale);
}

// Blocks of 32 with 16 bytes of nibbles, the low ones first: value(code, i).
template <class Value>
CACHALOT_BOTH void nibbles(const std::uint8_t* codes, float* out, const Value& value) {
    for (int i = 0; i < 16; ++i) {
        out[i] = value(codes[i] & 15, i);
        out[16 + i] = value(codes[i] >> 4, 16 + i);
    }
}
CACHALOT_BOTH inline void mxfp4(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 17;
    const float scale = e8m0_to_f32(block[0]);
    nibbles(block + 1, out,
            [&](int code, int) { return e2m1_to_f32(static_cast<std::uint8_t>(code)) * scale; });
}
CACHALOT_BOTH inline void q8_0(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 34;
    const float d = half(block);
    for (int i = 0; i < kGroup; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
}
CACHALOT_BOTH inline void q4_0(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 18;
    const float d = half(block);
    nibbles(block + 2, out, [&](int code, int) { return d * static_cast<float>(code - 8); });
}
CACHALOT_BOTH inline void q4_1(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 20;
    const float d = half(block), minimum = half(block + 2);
    nibbles(block + 4, out, [&](int code, int) { return d * static_cast<float>(code) + minimum; });
}
CACHALOT_BOTH inline void q5_0(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 22;
    const float d = half(block);
    const std::uint32_t fifth = u32(block + 2);
    nibbles(block + 6, out, [&](int code, int i) {
        return d * static_cast<float>((code | static_cast<int>(fifth >> i & 1) << 4) - 16);
    });
}
CACHALOT_BOTH inline void q5_1(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 24;
    const float d = half(block), minimum = half(block + 2);
    const std::uint32_t fifth = u32(block + 4);
    nibbles(block + 8, out, [&](int code, int i) {
        return d * static_cast<float>(code | static_cast<int>(fifth >> i & 1) << 4) + minimum;
    });
}
CACHALOT_BOTH inline float iq4_level(int code) {  // a fact of the format
    constexpr std::int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};
    return static_cast<float>(kLevels[code]);
}
CACHALOT_BOTH inline void iq4_nl(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g * 18;
    const float d = half(block);
    nibbles(block + 2, out, [&](int code, int) { return d * iq4_level(code); });
}

// Blocks of 256: group j = g mod 8 of the block.
CACHALOT_BOTH inline void iq4_xs(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 136;
    const int j = static_cast<int>(g % 8);
    const int low = block[4 + j / 2] >> (j % 2 * 4) & 15,
              high = static_cast<int>(u16(block + 2) >> (2 * j) & 3);
    const float step = half(block) * static_cast<float>((low | high << 4) - 32);
    nibbles(block + 8 + 16 * j, out, [&](int code, int) { return step * iq4_level(code); });
}
// Scale and minimum of a group of Q4_K and Q5_K (k_quants.h, q4k_group).
struct ScaleAndMinimum {
    float scale, minimum;
};
CACHALOT_BOTH inline ScaleAndMinimum q4k_scale(const std::uint8_t* packed, int j) {
    int scale = packed[j] & 63, minimum = packed[j + 4] & 63;
    if (j >= 4) {
        scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6 << 4);
        minimum = (packed[j + 4] >> 4) | (packed[j] >> 6 << 4);
    }
    return {static_cast<float>(scale), static_cast<float>(minimum)};
}
CACHALOT_BOTH inline void q4_k(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 144;
    const int j = static_cast<int>(g % 8);
    const auto [scale, minimum] = q4k_scale(block + 4, j);
    const float step = half(block) * scale, low = half(block + 2) * minimum;
    const std::uint8_t* piece = block + 16 + j / 2 * 32;
    for (int i = 0; i < kGroup; ++i) out[i] = step * static_cast<float>(piece[i] >> (j % 2 * 4) & 15) - low;
}
CACHALOT_BOTH inline void q5_k(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 176;
    const int j = static_cast<int>(g % 8);
    const auto [scale, minimum] = q4k_scale(block + 4, j);
    const float step = half(block) * scale, low = half(block + 2) * minimum;
    const std::uint8_t *fifth = block + 16, *piece = block + 48 + j / 2 * 32;
    for (int i = 0; i < kGroup; ++i) {
        const int q = (piece[i] >> (j % 2 * 4) & 15) | (fifth[i] >> j & 1) << 4;
        out[i] = step * static_cast<float>(q) - low;
    }
}
CACHALOT_BOTH inline void q2_k(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 84;
    const int j = static_cast<int>(g % 8);
    const float d = half(block + 80), dmin = half(block + 82);
    for (int part = 0; part < 2; ++part) {  // groups of 16
        const int packed = block[2 * j + part];
        const float step = d * static_cast<float>(packed & 15), low = dmin * static_cast<float>(packed >> 4);
        const std::uint8_t* codes = block + 16 + j / 4 * 32 + part * 16;
        for (int i = 0; i < 16; ++i)
            out[16 * part + i] = step * static_cast<float>(codes[i] >> (j % 4 * 2) & 3) - low;
    }
}
CACHALOT_BOTH inline void q3_k(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 110;
    const std::uint8_t *third = block, *codes = block + 32, *scales = block + 96;
    const int j = static_cast<int>(g % 8);
    const float d = half(block + 108);
    for (int part = 0; part < 2; ++part) {
        const int group = 2 * j + part;
        const int low = scales[group % 8] >> (group / 8 * 4) & 15;
        const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
        const float step = d * static_cast<float>((low | high << 4) - 32);
        for (int i = 16 * part; i < 16 * part + 16; ++i) {
            const int q = (codes[j / 4 * 32 + i] >> (j % 4 * 2) & 3) | (third[i] >> j & 1) << 2;
            out[i] = step * static_cast<float>(q - 4);
        }
    }
}
CACHALOT_BOTH inline void q6_k(const std::uint8_t* row, std::int64_t g, float* out) {
    const std::uint8_t* block = row + g / 8 * 210;
    const int j = static_cast<int>(g % 8), h = j / 4, p = j % 4;  // half, quarter of it
    const std::uint8_t *low = block + 64 * h + 32 * (p % 2), *high = block + 128 + 32 * h;
    const float d = half(block + 208);
    for (int i = 0; i < kGroup; ++i) {
        const int q = (low[i] >> (p / 2 * 4) & 15) | (high[i] >> (2 * p) & 3) << 4;
        const auto scale = static_cast<std::int8_t>(block[192 + 2 * j + i / 16]);
        out[i] = d * static_cast<float>(scale) * static_cast<float>(q - 32);
    }
}

// Patterns: value i of one is step times the magnitude that its digit i stands for, which is kBits wide; bit
// i of `signs` set: it is negative.
template <int kBits, class Magnitude>
CACHALOT_BOTH void put_pattern(unsigned pattern, unsigned signs, float step, float* out,
                               const Magnitude& magnitude) {
    for (int i = 0; i < 16 / kBits; ++i) {
        const float value = step * magnitude(pattern >> (kBits * i) & ((1u << kBits) - 1));
        out[i] = signs >> i & 1 ? -value : value;
    }
}
CACHALOT_BOTH inline float iq2_magnitude(unsigned digit) {
    return digit == 0 ? 8.0f : digit == 1 ? 25.0f : 43.0f;
}
CACHALOT_BOTH inline float iq3_xxs_magnitude(unsigned digit) {
    return digit == 7 ? 62.0f : static_cast<float>(4 + 8 * digit);
}
CACHALOT_BOTH inline float iq3_s_magnitude(unsigned digit) { return static_cast<float>(1 + 2 * digit); }
// Of eight values, from the seven that are stored: an even number is negative.
CACHALOT_BOTH inline unsigned even_signs(unsigned stored) {
    unsigned parity = stored ^ stored >> 4;
    parity ^= parity >> 2;
    return stored | ((parity ^ parity >> 1) << 7 & 0x80u);
}

CACHALOT_BOTH inline void iq2_xxs(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t *block = row + g / 8 * 66, *group = block + 2 + g % 8 * 8;
    const std::uint32_t rest = u32(group + 4);
    const float step = half(block) * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
    for (int p = 0; p < 4; ++p)
        put_pattern<2>(grids.iq2_xxs[group[p]], even_signs(rest >> (7 * p) & 127), step, out + 8 * p,
                       iq2_magnitude);
}
CACHALOT_BOTH inline void iq2_xs(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t* block = row + g / 8 * 74;
    const float d = half(block);
    for (int p = 0; p < 4; ++p) {
        const int i = static_cast<int>(g % 8) * 4 + p;
        const float step = d * (0.5f + static_cast<float>(nibble(block + 66, i / 2))) * 0.25f;
        const unsigned code = u16(block + 2 + 2 * i);
        put_pattern<2>(grids.iq2_xs[code & 511], even_signs(code >> 9), step, out + 8 * p, iq2_magnitude);
    }
}
CACHALOT_BOTH inline void iq2_s(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t* block = row + g / 8 * 82;
    const float d = half(block);
    for (int p = 0; p < 4; ++p) {
        const int i = static_cast<int>(g % 8) * 4 + p;
        const float step = d * (0.5f + static_cast<float>(nibble(block + 74, i / 2))) * 0.25f;
        const unsigned code = block[2 + i] | (block[66 + i / 4] >> (i % 4 * 2) & 3u) << 8;
        put_pattern<2>(grids.iq2_s[code], block[34 + i], step, out + 8 * p, iq2_magnitude);
    }
}
CACHALOT_BOTH inline void iq3_xxs(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t* block = row + g / 8 * 98;
    const float d = half(block);
    const std::uint32_t packed = u32(block + 66 + g % 8 * 4);
    const float step = d * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
    for (int p = 0; p < 8; ++p) {
        const unsigned signs = even_signs(packed >> (p / 2 * 7) & 127);
        put_pattern<4>(grids.iq3_xxs[block[2 + g % 8 * 8 + p]], signs >> (p % 2 * 4), step, out + 4 * p,
                       iq3_xxs_magnitude);
    }
}
CACHALOT_BOTH inline void iq3_s(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t* block = row + g / 8 * 110;
    const int j = static_cast<int>(g % 8);
    const float step = half(block) * static_cast<float>(1 + 2 * nibble(block + 106, j));
    for (int p = 0; p < 8; ++p) {
        const int i = 8 * j + p;
        const unsigned code = block[2 + i] | (block[66 + j] >> p & 1u) << 8;
        put_pattern<4>(grids.iq3_s[code], block[74 + i / 2] >> (i % 2 * 4), step, out + 4 * p,
                       iq3_s_magnitude);
    }
}

// Digits -1, 0, 1, all moved by `delta`.
CACHALOT_BOTH inline void put_ternary(unsigned pattern, float delta, float step, float* out) {
    for (int i = 0; i < 8; ++i)
        out[i] = step * (static_cast<float>(static_cast<int>(pattern >> (2 * i) & 3) - 1) + delta);
}
CACHALOT_BOTH inline void iq1_s(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t* block = row + g / 8 * 50;
    const int j = static_cast<int>(g % 8);
    const unsigned packed = u16(block + 34 + 2 * j);
    const float step = half(block) * static_cast<float>(2 * (packed >> 12 & 7) + 1);
    for (int p = 0; p < 4; ++p) {
        const unsigned code = block[2 + 4 * j + p] | (packed >> (p * 3) & 7u) << 8;
        put_ternary(grids.iq1[code], packed & 0x8000u ? -0.125f : 0.125f, step, out + 8 * p);
    }
}
CACHALOT_BOTH inline void iq1_m(const std::uint8_t* row, std::int64_t g, const Grids& grids, float* out) {
    const std::uint8_t *block = row + g / 8 * 56, *scales = block + 48;
    unsigned bits = 0;
    for (int i = 0; i < 4; ++i) bits |= (u16(scales + 2 * i) >> 12 & 15u) << (4 * i);
    const float d = f16_to_f32(static_cast<std::uint16_t>(bits));
    for (int p = 0; p < 4; ++p) {
        const int i = static_cast<int>(g % 8) * 4 + p, group = i / 2;
        const unsigned scale = u16(scales + group / 4 * 2) >> (group % 4 * 3) & 7;
        const unsigned packed = nibble(block + 32, i);
        const unsigned code = block[i] | (packed & 7) << 8;
        put_ternary(grids.iq1[code], packed & 8 ? -0.125f : 0.125f, d * static_cast<float>(2 * scale + 1),
                    out + 8 * p);
    }
}

}  // namespace formats

// Group `g` of row `r`: 32 floats to `out`. False, and nothing else, for a type that is no weight.
CACHALOT_BOTH inline bool decode_group(const Matrix& m, std::int64_t r, std::int64_t g, const Grids& grids,
                                       float* out) {
    const auto* row = reinterpret_cast<const std::uint8_t*>(m.row(r));
    switch (m.dtype) {
        case DType::f32: formats::f32(row, g, out); return true;
        case DType::f16: formats::f16(row, g, out); return true;
        case DType::bf16: formats::bf16(row, g, out); return true;
        case DType::f8_e4m3:
            formats::f8_e4m3(row, g, m.row_scales(r)[g * kGroup / m.fp8_block], out);
            return true;
        case DType::fp4_pairs: formats::fp4_pairs(row, g, m.row_scales(r)[g], out); return true;
        case DType::mxfp4: formats::mxfp4(row, g, out); return true;
        case DType::q8_0: formats::q8_0(row, g, out); return true;
        case DType::q4_0: formats::q4_0(row, g, out); return true;
        case DType::q4_1: formats::q4_1(row, g, out); return true;
        case DType::q5_0: formats::q5_0(row, g, out); return true;
        case DType::q5_1: formats::q5_1(row, g, out); return true;
        case DType::q2_k: formats::q2_k(row, g, out); return true;
        case DType::q3_k: formats::q3_k(row, g, out); return true;
        case DType::q4_k: formats::q4_k(row, g, out); return true;
        case DType::q5_k: formats::q5_k(row, g, out); return true;
        case DType::q6_k: formats::q6_k(row, g, out); return true;
        case DType::iq4_nl: formats::iq4_nl(row, g, out); return true;
        case DType::iq4_xs: formats::iq4_xs(row, g, out); return true;
        case DType::iq2_xxs: formats::iq2_xxs(row, g, grids, out); return true;
        case DType::iq2_xs: formats::iq2_xs(row, g, grids, out); return true;
        case DType::iq2_s: formats::iq2_s(row, g, grids, out); return true;
        case DType::iq3_xxs: formats::iq3_xxs(row, g, grids, out); return true;
        case DType::iq3_s: formats::iq3_s(row, g, grids, out); return true;
        case DType::iq1_s: formats::iq1_s(row, g, grids, out); return true;
        case DType::iq1_m: formats::iq1_m(row, g, grids, out); return true;
        default: return false;
    }
}

}  // namespace cachalot::cuda
