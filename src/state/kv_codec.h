// Attention states as bytes, cut where others can share them.
//
// What is compressed never changes, so the rows of a range of tokens are the same in every state with that
// beginning:
//
//     block    tokens (int32), then for each compressor, layer by layer, the rows of those tokens
//     rest     the same for the tokens beyond the last whole block, then the rings
//
// All sizes but what the drafter adds to the rings follow from the shape of the model and the number of
// tokens, so nothing else is written. How the rows lie in memory is not written: there, a page holds the
// rows of all layers.
#pragma once

#include <span>
#include <vector>

#include "state/kv_state.h"

namespace cachalot {

class KvCodec {
  public:
    // Of the states that lie in this pool.
    explicit KvCodec(std::shared_ptr<KvPool> pool) : pool_(std::move(pool)) {}

    // Bytes of the rows of tokens [begin, end) and of the tokens themselves.
    std::int64_t rows_bytes(std::int64_t begin, std::int64_t end) const;
    std::int64_t rings_bytes(std::int64_t length) const;
    // Whether so many bytes may be those: a state may come from a process with a drafter, or from one
    // without.
    bool are_rings(std::int64_t bytes, std::int64_t length) const;

    // The tokens and their rows; `out` has rows_bytes(begin, begin + tokens.size()) bytes. Any thread may
    // call it.
    void write_rows(const KvCheckpoint& state, std::int64_t begin, std::span<const std::int32_t> tokens,
                    std::span<std::byte> out) const;

    // The rows that `state`, which may be longer, has of its first tokens, which are `tokens`, shared with
    // it.
    KvCheckpoint beginning(const KvCheckpoint* state, std::span<const std::int32_t> tokens) const;

    // Memory for the rows of `length` tokens, which read_rows() is going to add. Called where states are
    // used.
    void make_room(KvCheckpoint& state, std::int64_t length) const;

    // No bytes, to be counted where the memory of the states is.
    CountedBytes no_bytes() const { return CountedBytes(CountedAllocator<std::byte>(pool_->memory())); }

    // Adds the rows of the next tokens, which are those at state.length. False if the bytes are of
    // other tokens or of another size. Any thread may call it.
    bool read_rows(KvCheckpoint& state, std::span<const std::int32_t> tokens,
                   std::span<const std::byte> bytes) const;

  private:
    std::shared_ptr<KvPool> pool_;
};

}  // namespace cachalot
