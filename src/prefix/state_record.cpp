#include "prefix/state_record.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cachalot {
namespace {

constexpr char kMagic[] = "CCSTATE1";  // of which the zero is not written
constexpr std::size_t kHash = sizeof(Hash128);

// More than any context has: sizes of so many do not overflow.
constexpr std::uint64_t kMostTokens = std::uint64_t(1) << 36;

constexpr const char* kDamaged = "the attention state is damaged or cut off";

std::span<const std::byte> bytes_of(const Hash128& hash) { return hash; }

}  // namespace

std::size_t record_bytes(const KvCodec& codec, std::int64_t length) {
    return kRecordHeader + static_cast<std::size_t>(codec.rows_bytes(0, length) + codec.rings_bytes(length)) +
           kHash;
}

void write_state(const KvCodec& codec, const ChainKey& fingerprint, std::span<const std::int32_t> tokens,
                 const KvCheckpoint& state, std::span<std::byte> out) {
    const auto length = static_cast<std::int64_t>(tokens.size());
    const auto rows = static_cast<std::size_t>(codec.rows_bytes(0, length));
    CACHALOT_CHECK(length == state.length && out.size() == record_bytes(codec, length));
    auto to = std::ranges::copy(std::as_bytes(std::span(kMagic).first<8>()), out.begin()).out;
    to = std::ranges::copy(bytes_of(fingerprint), to).out;
    for (int i = 0; i < 8; ++i) *to++ = static_cast<std::byte>(length >> (8 * i));
    codec.write_rows(state, 0, tokens, out.subspan(kRecordHeader, rows));
    std::ranges::copy(state.rings, out.begin() + static_cast<std::ptrdiff_t>(kRecordHeader + rows));
    std::ranges::copy(bytes_of(hash128(out.first(out.size() - kHash))), out.last(kHash).begin());
}

std::int64_t check_record_header(const KvCodec& codec, const ChainKey& fingerprint,
                                 std::span<const std::byte> header, std::uint64_t size) {
    if (size < kRecordHeader + kHash || header.size() < kRecordHeader ||
        std::memcmp(header.data(), kMagic, 8) != 0)
        fail("the bytes are no attention state: they do not begin as one does");
    if (std::memcmp(header.data() + 8, fingerprint.data(), fingerprint.size()) != 0)
        fail(
            "the attention state was computed with another model, other precisions or other kernels; "
            "it is right for those only");
    std::uint64_t count = 0;
    for (int i = 7; i >= 0; --i)
        count = count << 8 | static_cast<std::uint64_t>(header[24u + static_cast<unsigned>(i)]);
    // A token has bytes.
    if (count == 0 || count > std::min(size, kMostTokens)) fail("{}", kDamaged);
    const auto length = static_cast<std::int64_t>(count);
    const auto beside = kRecordHeader + static_cast<std::size_t>(codec.rows_bytes(0, length)) + kHash;
    if (size < beside || !codec.are_rings(static_cast<std::int64_t>(size - beside), length))
        fail("{}", kDamaged);
    return length;
}

StateRecord::StateRecord(const KvCodec& codec, const ChainKey& fingerprint,
                         std::span<const std::byte> bytes) {
    const auto n = check_record_header(codec, fingerprint, bytes, bytes.size());
    const auto payload = bytes.subspan(kRecordHeader, bytes.size() - kRecordHeader - kHash);
    const Hash128 hash = hash128(bytes.first(bytes.size() - kHash));
    if (std::memcmp(bytes.data() + bytes.size() - kHash, hash.data(), kHash) != 0) fail("{}", kDamaged);
    tokens_.resize(static_cast<std::size_t>(n));
    std::memcpy(tokens_.data(), payload.data(), tokens_.size() * sizeof(std::int32_t));
    const auto rows = static_cast<std::size_t>(codec.rows_bytes(0, n));
    rows_ = payload.first(rows);
    rings_ = payload.subspan(rows);
}

KvCheckpoint StateRecord::state(const KvCodec& codec) const {
    KvCheckpoint state = codec.beginning(nullptr, {});
    CACHALOT_CHECK(codec.read_rows(state, tokens_, rows_));
    state.rings.assign(rings_.begin(), rings_.end());
    return state;
}

}  // namespace cachalot
