// The state of one sequence in one piece of bytes, for whoever keeps it: in a file, in memory, at another
// process.
//
//     offset  bytes
//     0       8     CCSTATE1
//     8       16    fingerprint of what computed it (engine/state_fingerprint.h)
//     24      8     tokens n, little-endian
//     32      ..    the tokens and their rows, then the rings, as state/kv_codec.h lays them out
//     ..      16    XXH3-128 of all bytes before
//
// All sizes follow from the model and n, so no number of a record but n is believed, and n only if the size
// is right for it.
#pragma once

#include <vector>

#include "prefix/token_chain.h"
#include "state/kv_codec.h"

namespace cachalot {

// Bytes of the record of a state of so many tokens.
std::size_t record_bytes(const KvCodec& codec, std::int64_t length);

// Fills `out`, which has record_bytes(). `tokens`: those that the state is of. Any thread may call it while
// somebody holds the state.
void write_state(const KvCodec& codec, const ChainKey& fingerprint, std::span<const std::int32_t> tokens,
                 const KvCheckpoint& state, std::span<std::byte> out);

// So many bytes at the beginning of a record say how long it is.
inline constexpr std::size_t kRecordHeader = 32;

// The tokens of the record of `size` bytes that begins with `header`, at least kRecordHeader bytes unless the
// record has less. Throws Error as StateRecord does, but of the rest knows its size only: so that what is no
// record, or not for this model, need not be read.
std::int64_t check_record_header(const KvCodec& codec, const ChainKey& fingerprint,
                                 std::span<const std::byte> header, std::uint64_t size);

// A record that has been checked. It refers to the bytes. Any thread may make it and use it.
class StateRecord {
  public:
    // Throws Error that says what is wrong with `bytes`, which may come from anywhere: that they are no
    // record, are cut off or damaged, or of a model, precision or kernels of another fingerprint.
    StateRecord(const KvCodec& codec, const ChainKey& fingerprint, std::span<const std::byte> bytes);

    // Not checked against any vocabulary.
    const std::vector<std::int32_t>& tokens() const { return tokens_; }

    // The state, in memory of the codec's pool. Throws OutOfMemory.
    KvCheckpoint state(const KvCodec& codec) const;

  private:
    std::vector<std::int32_t> tokens_;
    std::span<const std::byte> rows_, rings_;
};

}  // namespace cachalot
