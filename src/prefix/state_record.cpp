#include "prefix/state_record.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr char kMagic[] = "CCSTATE1";  // of which the zero is not written
constexpr std::size_t kHeader = 32, kHash = sizeof(Hash128);

std::span<const std::byte> bytes_of(const Hash128& hash) { return hash; }

}  // namespace

std::vector<std::byte> write_state(const KvCodec& codec, const ChainKey& fingerprint,
                                   std::span<const std::int32_t> tokens, const KvCheckpoint& state) {
    const auto length = static_cast<std::int64_t>(tokens.size());
    CACHALOT_CHECK(length == state.length);
    CountedBytes rows;  // which the scheduler's memory has nothing to do with
    codec.write_rows(state, 0, tokens, rows);
    std::vector<std::byte> out(kHeader + rows.size() + state.rings.size() + kHash);
    std::byte* to = out.data();
    auto append = [&](std::span<const std::byte> bytes) {
        if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
        to += bytes.size();
    };
    append(std::as_bytes(std::span(kMagic).first<8>()));
    append(bytes_of(fingerprint));
    for (int i = 0; i < 8; ++i) *to++ = static_cast<std::byte>(length >> (8 * i));
    append(rows);
    append(state.rings);
    append(bytes_of(hash128(std::span(out).first(out.size() - kHash))));
    return out;
}

StateRecord read_state(const KvCodec& codec, const ChainKey& fingerprint, std::span<const std::byte> bytes) {
    if (bytes.size() < kHeader + kHash || std::memcmp(bytes.data(), kMagic, 8) != 0)
        fail("the bytes are no attention state: they do not begin as one does");
    if (std::memcmp(bytes.data() + 8, fingerprint.data(), fingerprint.size()) != 0)
        fail(
            "the attention state was computed with another model, other precisions or other kernels; "
            "it is right for those only");
    std::uint64_t count = 0;
    for (int i = 7; i >= 0; --i)
        count = count << 8 | static_cast<std::uint64_t>(bytes[24u + static_cast<unsigned>(i)]);
    const auto payload = bytes.subspan(kHeader, bytes.size() - kHeader - kHash);
    const auto n =
        static_cast<std::int64_t>(std::min<std::uint64_t>(count, payload.size()));  // a token has bytes
    const auto rows = static_cast<std::size_t>(codec.rows_bytes(0, n));
    const auto rings = static_cast<std::size_t>(codec.rings_bytes(n));
    const Hash128 hash = hash128(bytes.first(bytes.size() - kHash));
    if (n == 0 || static_cast<std::uint64_t>(n) != count || rows + rings != payload.size() ||
        std::memcmp(bytes.data() + bytes.size() - kHash, hash.data(), kHash) != 0)
        fail("the attention state is damaged or cut off");
    StateRecord record{std::vector<std::int32_t>(static_cast<std::size_t>(n)), codec.beginning(nullptr, 0)};
    std::memcpy(record.tokens.data(), payload.data(), record.tokens.size() * sizeof(std::int32_t));
    CACHALOT_CHECK(codec.read_rows(record.state, record.tokens, payload.first(rows)));
    record.state.rings.assign(payload.begin() + static_cast<std::ptrdiff_t>(rows), payload.end());
    return record;
}

}  // namespace cachalot
