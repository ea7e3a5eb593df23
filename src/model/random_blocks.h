// Random weights, made directly in the blocks of a file format and as fast as a disk can take them.
//
// Drawing numbers and quantising them would take minutes for a model of this size. Instead the codes of a
// block are random bytes as they come, and only its scales are written so that the values have mean 0 and a
// chosen deviation. For that the deviation of the codes alone must be known, which for every format is a
// small sum.
//
// The same arguments give the same bytes on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/dtype.h"

namespace cachalot {

// SplitMix64: 64 random bits from a counter. Independent streams come from seeds that were mixed first.
class RandomBits {
  public:
    explicit RandomBits(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
    void fill(std::span<std::byte> bytes);

    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

  private:
    std::uint64_t state_;
};

class RandomBlocks {
  public:
    // Values of the given standard deviation, about uniformly distributed. type: f32, f16, bf16, q8_0, mxfp4,
    // q4_k, q2_k or iq2_xxs; throws Error for another.
    RandomBlocks(DType type, double deviation);

    // `bytes` is a whole number of blocks.
    void fill(std::span<std::byte> bytes, std::uint64_t seed) const;

  private:
    void fill_plain(std::span<std::byte> bytes, RandomBits& random) const;
    void write_scales(std::byte* block) const;

    DType type_;
    std::vector<float> values_;          // f32: what 12 random bits become
    std::vector<std::uint16_t> halves_;  // f16, bf16: the same
    std::uint16_t d_ = 0, dmin_ = 0;     // f16
    std::uint8_t exponent_ = 0;          // mxfp4: of most blocks' scale; some have the next
    std::uint8_t larger_exponents_ = 0;  // how many of 256 blocks do
};

}  // namespace cachalot
