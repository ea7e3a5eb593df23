// Names and checksums: XXH3 with 128 bits. Fast, not cryptographic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace cachalot {

using Hash128 = std::array<std::byte, 16>;

Hash128 hash128(std::span<const std::byte> bytes, std::uint64_t seed = 0);

std::string hex(const Hash128& hash);

}  // namespace cachalot
