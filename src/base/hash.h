// Names and checksums: XXH3 with 128 bits. Fast, not cryptographic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace cachalot {

using Hash128 = std::array<std::byte, 16>;

Hash128 hash128(std::span<const std::byte> bytes, std::uint64_t seed = 0);

// The hash of bytes that come in pieces: the same as of all of them at once.
class Hasher128 {
  public:
    Hasher128();
    ~Hasher128();
    void add(std::span<const std::byte> bytes);
    Hash128 hash() const;  // of what has been added so far

  private:
    struct State;
    std::unique_ptr<State> state_;
};

std::string hex(const Hash128& hash);

}  // namespace cachalot
