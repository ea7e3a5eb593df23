#include "base/hash.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace cachalot {

Hash128 hash128(std::span<const std::byte> bytes, std::uint64_t seed) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed));
    Hash128 hash;
    static_assert(sizeof canonical == sizeof hash);
    std::memcpy(hash.data(), &canonical, sizeof hash);
    return hash;
}

std::string hex(const Hash128& hash) {
    std::string text;
    for (const std::byte b : hash) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
    return text;
}

}  // namespace cachalot
