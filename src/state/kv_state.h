// The attention state of one sequence: everything that the forward pass remembers of its tokens.
//
//   window       every layer      the last W latent rows                        ring
//   compressed   CSA, HCA layers  one latent row for each complete group        pages, shared
//   index        CSA layers       one indexer key for each complete group       pages, shared
//   partial      CSA, HCA layers  kv and score of the tokens that a future      ring, float32
//                                 group still needs
//
// It is small: on V4-Flash 3.5 KB a token in pages and about 30 MB in rings. A checkpoint keeps the list of pages and
// of the rings only the rows that the next token can reach: 3 MB at a multiple of 128 tokens, 15 MB at worst.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "model/config.h"
#include "state/paged_rows.h"
#include "state/row_ring.h"

namespace cachalot {

enum class KvPrecision {
    reference,  // FP8 latents and FP4 indexer keys: rounds as DeepSeek's inference code; the smallest
    f32,        // no rounding
};

// One compressor's share of a layer: finished rows, and what unfinished groups are made of.
struct CompressorState {
    PagedRows rows;
    RowRing kv, score;  // [position] width floats
    int ratio = 0;
    bool overlap = false;

    // The first position whose kv and score a group that is incomplete at `length` needs.
    std::int64_t first_needed(std::int64_t length) const {
        auto group = length / ratio * ratio;
        return overlap && group >= ratio ? group - ratio : group;
    }
};

struct LayerState {
    RowRing window;
    CompressorState compressed;  // ratio 0: none
    CompressorState index;       // ratio 0: none
};

struct KvCheckpoint;

class KvState {
  public:
    // `count` is told of every byte that this state, its forks and its checkpoints hold.
    KvState(const Config& config, KvPrecision precision, std::shared_ptr<MemoryCount> count = nullptr);

    // Of this sequence: no two that there ever are in a process have the same, though memory is used again. A fork has one
    // of its own; a state that is moved takes it along.
    std::uint64_t id() const { return id_.value; }

    std::int64_t length() const { return length_; }  // tokens
    KvPrecision precision() const { return precision_; }
    RowFormat latent_format() const { return latent_format_; }
    RowFormat index_format() const { return index_format_; }
    LayerState& layer(int l) { return layers_[static_cast<std::size_t>(l)]; }

    // Called by the forward pass: room for `count` more tokens in the pages of every layer, and afterwards that they
    // are there.
    void extend(std::int64_t count);
    void advance(std::int64_t count);

    // Takes back the last tokens. Possible down to rollback_limit(); throws Error below it.
    void rollback(std::int64_t length);
    std::int64_t rollback_limit() const { return floor_; }

    // False if a pass that failed left the rings without the rows that the next token needs: restore a checkpoint.
    bool intact() const { return floor_ <= length_; }

    // A sequence that continues from here on its own; the pages are shared.
    KvState fork() const { return *this; }

    KvCheckpoint checkpoint() const;
    // Of the first `length` tokens, as if the others had been taken back. Throws Error below rollback_limit().
    KvCheckpoint checkpoint(std::int64_t length) const;
    // Throws Error if the checkpoint is of a model of another shape or of another precision.
    void restore(const KvCheckpoint& checkpoint);

    // Bytes held, pages shared with others included; now, and by a state of that many tokens.
    std::int64_t bytes() const { return bytes_at(length_); }
    std::int64_t bytes_at(std::int64_t length) const;

    // The most that `count` further tokens add, with the copy of a shared page in every compressor.
    std::int64_t growth(std::int64_t count) const;

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
    KvPrecision precision_;
    CountedAllocator<std::byte> allocator_;
    RowFormat latent_format_, index_format_;
    std::vector<LayerState> layers_;
    std::int64_t length_ = 0;
    std::int64_t floor_ = 0;  // the shortest length that the rings can go back to
};

// A state at rest. Immutable; may be restored into any number of states.
struct KvCheckpoint {
    struct Layer {
        PagedRows compressed, index;
    };
    KvPrecision precision = KvPrecision::reference;
    std::int64_t length = 0;
    std::vector<Layer> layers;
    CountedBytes rings;  // layer by layer: window, kv, score, index kv, index score; oldest row first

    // Bytes of it, less the pages that it shares with the checkpoint of a prefix that it was continued from.
    std::int64_t bytes_beyond(const KvCheckpoint* prefix) const;
};

}  // namespace cachalot
