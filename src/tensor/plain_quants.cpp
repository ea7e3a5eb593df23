#include "tensor/plain_quants.h"

#include <array>
#include <cstdint>

#include "tensor/unaligned.h"

namespace cachalot {
namespace {

// The levels of the IQ4 formats, facts of the format.
constexpr std::array<float, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

// value(code) for the 32 codes of 4 bits in 16 bytes: the low nibbles are the first 16 values.
template <class Value>
void each_nibble(const std::byte* codes, float* out, Value value) {
    for (int i = 0; i < 16; ++i) {
        const int byte = static_cast<int>(codes[i]);
        out[i] = value(byte & 15, i);
        out[16 + i] = value(byte >> 4, 16 + i);
    }
}

}  // namespace

void dequantize_q4_0(const std::byte* block, float* out) {
    const float d = load_half(block);
    each_nibble(block + 2, out, [&](int code, int) { return d * static_cast<float>(code - 8); });
}

void dequantize_q4_1(const std::byte* block, float* out) {
    const float d = load_half(block), minimum = load_half(block + 2);
    each_nibble(block + 4, out, [&](int code, int) { return d * static_cast<float>(code) + minimum; });
}

void dequantize_q5_0(const std::byte* block, float* out) {
    const float d = load_half(block);
    const auto fifth = load_unaligned<std::uint32_t>(block + 2);
    each_nibble(block + 6, out, [&](int code, int i) {
        return d * static_cast<float>((code | static_cast<int>(fifth >> i & 1) << 4) - 16);
    });
}

void dequantize_q5_1(const std::byte* block, float* out) {
    const float d = load_half(block), minimum = load_half(block + 2);
    const auto fifth = load_unaligned<std::uint32_t>(block + 4);
    each_nibble(block + 8, out, [&](int code, int i) {
        return d * static_cast<float>(code | static_cast<int>(fifth >> i & 1) << 4) + minimum;
    });
}

void dequantize_iq4_nl(const std::byte* block, float* out) {
    const float d = load_half(block);
    each_nibble(block + 2, out,
                [&](int code, int) { return d * kIq4Levels[static_cast<std::size_t>(code)]; });
}

void dequantize_iq4_xs(const std::byte* block, float* out) {
    const float d = load_half(block);
    const unsigned high = load_unaligned<std::uint16_t>(block + 2);
    for (int g = 0; g < 8; ++g) {
        const int low = static_cast<int>(block[4 + g / 2]) >> (g % 2 * 4) & 15;
        const float step = d * static_cast<float>((low | static_cast<int>(high >> (2 * g) & 3) << 4) - 32);
        each_nibble(block + 8 + 16 * g, out + 32 * g,
                    [&](int code, int) { return step * kIq4Levels[static_cast<std::size_t>(code)]; });
    }
}

}  // namespace cachalot
