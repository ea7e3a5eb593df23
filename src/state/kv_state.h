// The attention state of one sequence: everything that the forward pass remembers of its tokens.
//
//   window       every layer      the last W latent rows                        ring
//   compressed   CSA, HCA layers  one latent row for each complete group        pages, shared
//   index        CSA layers       one indexer key for each complete group       pages, shared
//   partial      CSA, HCA layers  kv and score of the tokens that a future      ring, float32
//                                 group still needs
//
// It is small: on V4-Flash 3.5 KB a token in pages and about 30 MB in rings. Here is its bookkeeping: which
// pages, which slab, how many tokens. The bytes themselves lie in a KvPool, where kv_layout.h says. A
// checkpoint keeps the pages, and of the rings only the rows that the next token can reach: 3 MB at a
// multiple of 128 tokens, 15 MB at worst.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>

#include "state/kv_pool.h"
#include "state/recent_tokens.h"

namespace cachalot {

struct KvCheckpoint;

class KvState {
  public:
    // Empty. The thread that uses the pool's stream uses the state.
    explicit KvState(std::shared_ptr<KvPool> pool);

    // Of this sequence: no two that there ever are in a process have the same, though memory is used again. A
    // fork has one of its own; a state that is moved takes it along.
    std::uint64_t id() const { return id_.value; }

    std::int64_t length() const { return length_; }  // tokens
    const KvLayout& layout() const { return pages_.pool()->layout(); }
    const KvPages& pages() const { return pages_; }
    const KvSlab& slab() const { return slab_; }

    // Called by the forward pass: room for `count` more tokens in the pages, and afterwards that they are
    // there.
    void extend(std::int64_t count);
    // `context`: layers behind Config::context_layers_end() were left out.
    void advance(std::span<const std::int32_t> tokens, bool context = false);

    const RecentTokens& recent() const { return recent_; }

    // Where those layers begin to know all tokens.
    std::int64_t context_end() const { return context_end_; }

    // Where the stages of the drafter begin to: behind rows of context, and behind what was computed without
    // a drafter.
    std::int64_t draft_begin() const { return std::max(draft_begin_, context_end_); }

    // Takes back the last tokens. Possible down to rollback_limit(); throws Error below it.
    void rollback(std::int64_t length);
    std::int64_t rollback_limit() const { return floor_; }

    // False if a pass that failed left the rings without the rows that the next token needs: restore a
    // checkpoint.
    bool intact() const { return floor_ <= length_; }

    // A sequence that continues from here on its own; the pages are shared.
    KvState fork() const { return *this; }

    KvCheckpoint checkpoint() const;
    // Of the first `length` tokens, as if the others had been taken back. Throws Error below
    // rollback_limit().
    KvCheckpoint checkpoint(std::int64_t length) const;
    // Throws Error if the checkpoint is of a model of another shape, of another precision or of another pool.
    void restore(const KvCheckpoint& checkpoint);

    // Bytes held, pages shared with others included.
    std::int64_t bytes() const { return layout().bytes_at(length_); }
    // The most that `count` further tokens add.
    std::int64_t growth(std::int64_t count) const { return layout().growth(length_, count); }

  private:
    void check_kept(std::int64_t length) const;

    // A new number with every copy.
    struct Id {
        Id() : value(++last) {}
        Id(const Id&) : Id() {}
        Id(Id&& other) noexcept : value(other.value) {}
        Id& operator=(const Id&) { return *this = Id(); }
        Id& operator=(Id&& other) noexcept {
            value = other.value;
            return *this;
        }
        std::uint64_t value;
        static inline std::atomic<std::uint64_t> last = 0;
    };

    Id id_;
    KvPages pages_;
    KvSlab slab_;
    RecentTokens recent_;
    std::int64_t length_ = 0;
    std::int64_t context_end_ = 0;
    std::int64_t draft_begin_ = 0;
    std::int64_t floor_ = 0;  // the shortest length that the rings can go back to
};

// A state at rest. Immutable; may be restored into any number of states.
struct KvCheckpoint {
    explicit KvCheckpoint(const std::shared_ptr<KvPool>& pool)
        : pages(pool), rings(CountedAllocator<std::byte>(pool->memory())) {}

    std::int64_t length = 0;
    KvPages pages;
    RecentTokens recent;
    // Layer by layer: window, kv, score, index kv, index score; oldest row first. Then, if there are layers
    // that rows of context leave out, KvState::context_end() (int64). Then, with a drafter, the rings of its
    // stages (window, streams) and KvState::draft_begin() (int64); who has no drafter looks at nothing from
    // there on.
    CountedBytes rings;

    const KvLayout& layout() const { return pages.pool()->layout(); }

    // Bytes of it, less the pages that it shares with the checkpoint of a prefix that it was continued from.
    std::int64_t bytes_beyond(const KvCheckpoint* prefix) const;
};

}  // namespace cachalot
