#include "model/random_blocks.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tensor/float_formats.h"

namespace cachalot {
namespace {

// Deviations of the values of a block whose scales are 1, its codes uniformly random:
//   q8_0     -127..127
//   mxfp4    0, .5, 1, 1.5, 2, 3, 4, 6 and negatives
//   q4_k     (q - 7.5) * s, q in 0..15, s in 32..63
//   q2_k     (q - 1.5) * s, q in 0..3, s in 8..15
//   iq2_xxs  magnitudes as often as in its table, times (s + 1/2) / 4, s in 0..15
constexpr double kQ8Deviation = 73.324;
constexpr double kMxfp4Variance = 68.5 / 8;
const double kQ4kDeviation = std::sqrt(21.25 * 2341.5);
const double kQ2kDeviation = std::sqrt(1.25 * 137.5);
const double kIq2Deviation = std::sqrt((1127 * 64 + 556 * 625 + 365 * 1849) / 2048.0 * 85.25 / 16);

constexpr int kTableSize = 4096;  // values of the plain types: 12 random bits each

void put(std::byte* at, std::uint16_t value) { std::memcpy(at, &value, sizeof value); }

// Eight scales of 32..63 from the random bytes in their place, each minimum equal to its scale; q4k_group()
// in tensor/k_quants.h says where their bits lie.
void even_q4k_scales(std::byte* packed) {
    unsigned s[12];
    for (int i = 0; i < 12; ++i) s[i] = static_cast<unsigned>(packed[i]);
    for (int j = 0; j < 4; ++j) {
        const unsigned low = 32 | (s[j] & 31), high = 32 | (s[j + 4] & 31);  // groups j and j + 4
        const unsigned top = high >> 4 << 6, nibble = high & 15;
        packed[j] = packed[j + 4] = static_cast<std::byte>(low | top);
        packed[j + 8] = static_cast<std::byte>(nibble | nibble << 4);
    }
}

}  // namespace

void RandomBits::fill(std::span<std::byte> bytes) {
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        const std::uint64_t bits = next();
        std::memcpy(bytes.data() + i, &bits, 8);
    }
    if (i == bytes.size()) return;
    const std::uint64_t bits = next();
    std::memcpy(bytes.data() + i, &bits, bytes.size() - i);
}

RandomBlocks::RandomBlocks(DType type, double deviation) : type_(type) {
    const auto half = [](double value) { return f32_to_f16(static_cast<float>(value)); };
    switch (type) {
        case DType::f32:
        case DType::f16:
        case DType::bf16:
            for (int i = 0; i < kTableSize; ++i) {
                auto value =
                    static_cast<float>(deviation * std::sqrt(3.0) * ((2 * i + 1.0) / kTableSize - 1));
                values_.push_back(value);
                halves_.push_back(type == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value));
            }
            return;
        case DType::q8_0: d_ = half(deviation / kQ8Deviation); return;
        case DType::mxfp4: {
            const double scale = deviation / std::sqrt(kMxfp4Variance);
            const int exponent = std::ilogb(scale);
            const double ratio =
                scale / std::ldexp(1.0, exponent);  // the variance of a block is 1 or 4 times that
            exponent_ = static_cast<std::uint8_t>(exponent + 127);
            larger_exponents_ = static_cast<std::uint8_t>((ratio * ratio - 1) / 3 * 256);
            return;
        }
        case DType::q4_k:
            d_ = half(deviation / kQ4kDeviation);
            dmin_ = half(7.5 * f16_to_f32(d_));
            return;
        case DType::q2_k:
            d_ = half(deviation / kQ2kDeviation);
            dmin_ = half(1.5 * f16_to_f32(d_));
            return;
        case DType::iq2_xxs: d_ = half(deviation / kIq2Deviation); return;
        default: fail("cannot make random weights of type {}", name(type));
    }
}

void RandomBlocks::fill(std::span<std::byte> bytes, std::uint64_t seed) const {
    RandomBits random(seed);
    if (!values_.empty()) return fill_plain(bytes, random);
    random.fill(bytes);
    const auto stride = static_cast<std::size_t>(info(type_).bytes);
    CACHALOT_CHECK(bytes.size() % stride == 0);
    for (std::size_t at = 0; at < bytes.size(); at += stride) write_scales(bytes.data() + at);
}

void RandomBlocks::fill_plain(std::span<std::byte> bytes, RandomBits& random) const {
    std::uint64_t bits = 0;
    const auto size = static_cast<std::size_t>(info(type_).bytes);
    for (std::size_t i = 0; i < bytes.size() / size; ++i, bits >>= 16) {
        if (i % 4 == 0) bits = random.next();
        const std::size_t index = bits & (kTableSize - 1);
        if (type_ == DType::f32)
            std::memcpy(&bytes[4 * i], &values_[index], 4);
        else
            std::memcpy(&bytes[2 * i], &halves_[index], 2);
    }
}

// The block is full of random bytes.
void RandomBlocks::write_scales(std::byte* block) const {
    switch (type_) {
        case DType::q8_0:
            put(block, d_);
            for (int i = 2; i < 34; ++i)  // nobody's quantiser writes -128
                block[i] = block[i] == std::byte{0x80} ? std::byte{0} : block[i];
            return;
        case DType::mxfp4: {
            const bool larger = static_cast<std::uint8_t>(block[0]) < larger_exponents_;
            block[0] = static_cast<std::byte>(exponent_ + larger);
            return;
        }
        case DType::q4_k:
            put(block, d_);
            put(block + 2, dmin_);
            return even_q4k_scales(block + 4);
        case DType::q2_k:
            for (int i = 0; i < 16; ++i) {
                const unsigned scale = 8 | (static_cast<unsigned>(block[i]) & 7);
                block[i] = static_cast<std::byte>(scale | scale << 4);
            }
            put(block + 80, d_);
            put(block + 82, dmin_);
            return;
        case DType::iq2_xxs: put(block, d_); return;
        default: CACHALOT_CHECK(false);
    }
}

}  // namespace cachalot
