// The random numbers that a release means without naming them: NumPy's default_rng(10007 * layer), which is
// a PCG64 (O'Neill 2014, XSL-RR output) whose state a hash of the seed fills (NumPy's SeedSequence).
#pragma once

#include <cstdint>

namespace cachalot {

class EngramRandom {
  public:
    explicit EngramRandom(int layer);

    // Evenly in [0, bound), as Generator.integers draws 64 bits: Lemire's multiplication with rejection.
    // `bound` is at least 2^32; below, NumPy draws 32 bits.
    std::uint64_t below(std::uint64_t bound);

  private:
    using Wide = unsigned __int128;

    std::uint64_t next();
    void step();

    Wide state_ = 0, increment_ = 0;
};

}  // namespace cachalot
