// The random numbers behind sampling.
//
// A seed must give the same text on every platform, which rules out std::*_distribution: the standard leaves
// their algorithms open. SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// 2014) is a counter that advances by the golden ratio and is then mixed, so its whole state is one integer
// that can be saved with a sequence, and neighbouring seeds give unrelated streams. One token takes one
// number: quality is ample.
#pragma once

#include <cstdint>

namespace cachalot {

class SplitMix64 {
  public:
    explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    // Uniform in [0, 1): the upper 53 bits, which a double holds exactly.
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  private:
    std::uint64_t state_;
};

}  // namespace cachalot
