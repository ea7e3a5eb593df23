#include "tensor/iq_quants.h"

#include "tensor/k_quants.h"
#include "tensor/unaligned.h"

namespace cachalot {
namespace {

unsigned byte(const std::byte* p) { return static_cast<unsigned>(*p); }
unsigned nibble(const std::byte* p, int i) { return byte(p + i / 2) >> (i % 2 * 4) & 15; }

// step * magnitude * sign for the digits of `pattern`, of kBits each; bit i of `signs` set: value i is
// negative.
template <int kBits, class Magnitudes>
float* put_pattern(unsigned pattern, const Magnitudes& magnitudes, unsigned signs, float step, float* out) {
    for (int i = 0; i < 16 / kBits; ++i) {
        const unsigned digit = pattern >> (kBits * i) & ((1u << kBits) - 1);
        const float value = step * static_cast<float>(magnitudes[digit]);
        *out++ = signs >> i & 1 ? -value : value;
    }
    return out;
}

// The same for IQ1, whose digits are -1, 0, 1.
float* put_ternary(unsigned pattern, float delta, float step, float* out) {
    for (int i = 0; i < 8; ++i)
        *out++ = step * (static_cast<float>(static_cast<int>(pattern >> (2 * i) & 3) - 1) + delta);
    return out;
}

constexpr float kIq1Delta = 0.125f;

}  // namespace

void dequantize_iq2_xs(const std::byte* block, float* out) {
    const float d = load_half(block);
    const std::byte *codes = block + 2, *scales = block + 66;
    for (int i = 0; i < 32; ++i) {
        const float step = d * (0.5f + static_cast<float>(nibble(scales, i / 2))) * 0.25f;
        const unsigned code = load_unaligned<std::uint16_t>(codes + 2 * i);
        out = put_pattern<2>(kIq2xsGrid[code & 511], kIq2Magnitudes, iq2xxs_signs(code >> 9), step, out);
    }
}

void dequantize_iq2_s(const std::byte* block, float* out) {
    const float d = load_half(block);
    const std::byte *low = block + 2, *signs = block + 34, *high = block + 66, *scales = block + 74;
    for (int i = 0; i < 32; ++i) {
        const float step = d * (0.5f + static_cast<float>(nibble(scales, i / 2))) * 0.25f;
        const unsigned code = byte(low + i) | (byte(high + i / 4) >> (i % 4 * 2) & 3) << 8;
        out = put_pattern<2>(kIq2sGrid[code], kIq2Magnitudes, byte(signs + i), step, out);
    }
}

void dequantize_iq3_xxs(const std::byte* block, float* out) {
    const float d = load_half(block);
    const std::byte *codes = block + 2, *rest = block + 66;
    for (int i = 0; i < 64; ++i) {
        const auto packed = load_unaligned<std::uint32_t>(rest + i / 8 * 4);
        const float step = d * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
        const unsigned signs =
            iq2xxs_signs(packed >> (i % 8 / 2 * 7) & 127);  // of this pattern and its neighbour
        out =
            put_pattern<4>(kIq3xxsGrid[byte(codes + i)], kIq3xxsMagnitudes, signs >> (i % 2 * 4), step, out);
    }
}

void dequantize_iq3_s(const std::byte* block, float* out) {
    const float d = load_half(block);
    const std::byte *low = block + 2, *high = block + 66, *signs = block + 74, *scales = block + 106;
    for (int i = 0; i < 64; ++i) {
        const float step = d * static_cast<float>(1 + 2 * nibble(scales, i / 8));
        const unsigned code = byte(low + i) | (byte(high + i / 8) >> (i % 8) & 1) << 8;
        out = put_pattern<4>(kIq3sGrid[code], kIq3sMagnitudes, byte(signs + i / 2) >> (i % 2 * 4), step, out);
    }
}

void dequantize_iq1_s(const std::byte* block, float* out) {
    const float d = load_half(block);
    const std::byte *low = block + 2, *high = block + 34;
    for (int i = 0; i < 32; ++i) {
        const unsigned packed = load_unaligned<std::uint16_t>(high + i / 4 * 2);
        const float step = d * static_cast<float>(2 * (packed >> 12 & 7) + 1);
        const unsigned code = byte(low + i) | (packed >> (i % 4 * 3) & 7) << 8;
        out = put_ternary(kIq1Grid[code], packed & 0x8000 ? -kIq1Delta : kIq1Delta, step, out);
    }
}

void dequantize_iq1_m(const std::byte* block, float* out) {
    const std::byte *low = block, *high = block + 32, *scales = block + 48;
    // Each of the four words has four scales of three bits and, above them, a quarter of d.
    unsigned bits = 0;
    for (int i = 0; i < 4; ++i)
        bits |= (load_unaligned<std::uint16_t>(scales + 2 * i) >> 12 & 15u) << (4 * i);
    const float d = f16_to_f32(static_cast<std::uint16_t>(bits));
    for (int i = 0; i < 32; ++i) {
        const int group = i / 2;
        const unsigned scale = load_unaligned<std::uint16_t>(scales + group / 4 * 2) >> (group % 4 * 3) & 7;
        const float step = d * static_cast<float>(2 * scale + 1);
        const unsigned packed = nibble(high, i);
        const unsigned code = byte(low + i) | (packed & 7) << 8;
        out = put_ternary(kIq1Grid[code], packed & 8 ? -kIq1Delta : kIq1Delta, step, out);
    }
}

}  // namespace cachalot
