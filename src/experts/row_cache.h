// A cache of rows of Engram tables: millions of them, of one size, some used all the time and most once.
//
// Pairs of frequent tokens come again and again, and groups of four hardly ever. A cache that takes in
// whatever was read is swept clean by every long prompt, so what decides is how often a row was used lately,
// also before it was here: a row that is new takes the place of another one only if it was used at least as
// often (TinyLFU, frequency_sketch.h; at least, so that rows of the present text, all used once, replace
// those of the text before). W-TinyLFU keeps a window for new keys and S3-FIFO three queues to the same end;
// their lists take as much memory as a tenth of a row, and gain little where hits cost microseconds.
//
// A row belongs to a set of eight places by its hash and is looked for in those, which is one line of the
// processor's cache; the one of them that was used least leaves. That needs no index and no lists, and eight
// places find nearly what all would (Adas, Einziger and Friedman, "Limited associativity makes concurrent
// software caches a breeze", 2022). Beside its bytes a row takes 12: its key and its share of the sketch.
#pragma once

#include <cstdint>
#include <vector>

#include "base/large_memory.h"
#include "experts/frequency_sketch.h"

namespace cachalot {

class RowCache {
  public:
    // Bytes that a cache of so many rows takes.
    static std::uint64_t bytes_for(std::uint64_t rows, std::uint64_t row_bytes);

    // As many rows as fit into `budget` bytes, at most `most`. Throws Error if there is no room for one, or
    // not so much memory.
    RowCache(std::uint64_t budget, std::uint64_t row_bytes, std::uint64_t most);

    // The bytes of a row, until the next offer(); null if it is not here. Counts as a use of the row.
    const std::byte* find(std::uint64_t row);

    // Takes a row in, or not, as often as it was used.
    void offer(std::uint64_t row, const std::byte* bytes);

    std::uint64_t capacity() const { return keys_.size(); }  // rows
    std::uint64_t residents() const { return residents_; }
    std::uint64_t bytes() const { return bytes_for(capacity(), row_bytes_); }

  private:
    std::uint64_t first_of_set(std::uint64_t hash) const { return ((hash >> 32) * sets_ >> 32) * ways_; }
    std::byte* place(std::uint64_t way) { return memory_.data() + way * row_bytes_; }

    std::uint64_t row_bytes_, ways_, sets_;
    std::vector<std::uint64_t> keys_;  // [sets, ways] of row + 1; 0: empty
    FrequencySketch uses_;
    LargeMemory memory_;  // [sets, ways, row_bytes]
    std::uint64_t residents_ = 0, offers_ = 0;
};

}  // namespace cachalot
