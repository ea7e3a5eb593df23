#include "base/hash.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace cachalot {

namespace {

Hash128 canonical(XXH128_hash_t value) {
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, value);
    Hash128 hash;
    static_assert(sizeof bytes == sizeof hash);
    std::memcpy(hash.data(), &bytes, sizeof hash);
    return hash;
}

}  // namespace

Hash128 hash128(std::span<const std::byte> bytes, std::uint64_t seed) {
    return canonical(XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed));
}

struct Hasher128::State {
    XXH3_state_t xxh;  // wants to be aligned to 64 bytes, which its type says
};

Hasher128::Hasher128() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Hasher128::~Hasher128() = default;

void Hasher128::add(std::span<const std::byte> bytes) {
    XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

Hash128 Hasher128::hash() const { return canonical(XXH3_128bits_digest(&state_->xxh)); }

std::string hex(const Hash128& hash) {
    std::string text;
    for (const std::byte b : hash) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
    return text;
}

}  // namespace cachalot
