// Byte-pair merging of one piece of text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cachalot {

struct Merge {
    std::int32_t left, right, result;  // token ids
};

// The merges by rank, and a way from a pair of tokens to the rank of its merge: for each left token a short
// list of right tokens sorted by id. (Not a hash table: the ids come from a file, which could make any fixed
// hash collide.)
class MergeTable {
  public:
    MergeTable() = default;

    // `merges` in order of rank, ids in [0, vocab_size), no pair twice: the caller has checked that.
    MergeTable(std::vector<Merge> merges, std::size_t vocab_size);

    std::optional<std::uint32_t> rank(std::int32_t left, std::int32_t right) const;
    const Merge& operator[](std::uint32_t rank) const { return merges_[rank]; }

  private:
    struct Right {
        std::int32_t id;
        std::uint32_t rank;
    };
    std::vector<Merge> merges_;
    std::vector<Right> rights_;        // sorted by (left, id)
    std::vector<std::size_t> starts_;  // [vocab_size + 1] where a left token's entries begin in rights_
};

// Applies merges to sequences of tokens; keeps its scratch memory from one piece to the next.
class Merger {
  public:
    explicit Merger(const MergeTable& table) : table_(table) {}

    // Merges the tokens of one piece, of which there is one for each byte, and appends the result to `out`.
    // Always applies the merge of lowest rank, the leftmost of equals, until none is left. O(n log n). Throws
    // Error for a piece of 4 GiB.
    void merge(std::span<const std::int32_t> bytes, std::vector<std::int32_t>& out);

  private:
    struct Symbol {
        std::int32_t id;           // kGone once merged into the symbol before
        std::uint32_t prev, next;  // indices; kEnd at the ends
    };
    struct Candidate {
        std::uint32_t rank;
        std::uint32_t left;  // index of the pair's left symbol

        // The heap algorithms keep the greatest on top, so "less" is "merged later".
        bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
    };

    std::optional<Candidate> candidate(std::uint32_t left) const;
    void consider(std::uint32_t left);
    Candidate pop();

    const MergeTable& table_;
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
};

}  // namespace cachalot
