// One forward pass as data: a flat list of rows, each a token of one of several sequences.
//
// Prompts and answers go through the dense matrices together; attention looks at one sequence after the
// other, experts at the rows that chose them. What the rows of a sequence are for is said here and nowhere
// guessed: caches of experts keep other books for prompts than for answers, and rows of a draft may be taken
// back.
//
// Of a prompt the last tokens may go through all layers, while those before them are rows of context, which
// leave the pass in the middle (Config::context_layers_end()). Rows of context stand behind all others, so
// that the others stay where they are when these leave; a prompt of which both are read in one pass is two
// entries of sequences().
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "state/kv_state.h"

namespace cachalot {

enum class RowsKind : std::uint8_t {
    prompt,  // tokens that are read
    decode,  // the newest token of an answer
    verify,  // the newest token of an answer, and drafted ones that may follow it
    draft,   // the newest token of an answer, and tokens to be drafted: for the drafter's stages
};

// The rows of one sequence inside the batch, or of one part of it.
struct BatchRows {
    KvState* state;
    RowsKind kind;
    int first;            // row of the batch
    int count;            // rows
    std::int64_t start;   // position of the first
    int first_wanted;     // of the rows whose logits are wanted, the first of this sequence
    int wanted;           // so many: the last ones of the sequence
    bool context;         // only the layers are computed that later tokens read from
    int ahead;            // tokens between those in `state` and the first of these
    int context_of = -1;  // rows of context whose sequence goes on in this pass: where, in sequences()
};

class Batch {
  public:
    enum class Logits { last, all };

    // Appends tokens that follow those in `state`, which must outlive the batch and be in it once. Not empty.
    // `ahead`: so many tokens of context stand between those in `state` and these, and add_context() is going
    // to be called with them.
    void add(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind,
             Logits wanted = Logits::last, std::size_t ahead = 0);

    // Appends the row of one token for a drafter that drafts one after the other: `ahead` tokens stand
    // between those in `state` and this one.
    void add_draft(KvState& state, std::int32_t token, int ahead);

    // Appends tokens of a prompt that are read for those who follow, and of which no logits are wanted: only
    // layers up to Config::context_layers_end() are computed. Behind all others. The rest of the same
    // sequence, if it is in the batch, is the entry `before` of sequences().
    void add_context(KvState& state, std::span<const std::int32_t> tokens, int before = -1);

    // What another process computed with the layers before, where these do not begin with tokens: its
    // PassOutput::streams. They outlive the pass.
    void set_streams(std::span<const float> streams) { streams_ = streams; }
    std::span<const float> streams() const { return streams_; }

    int rows() const { return static_cast<int>(tokens_.size()); }
    int context_rows() const { return context_rows_; }                      // the last ones
    std::span<const std::int32_t> tokens() const { return tokens_; }        // [rows]
    std::span<const std::int64_t> positions() const { return positions_; }  // [rows]
    std::span<const BatchRows> sequences() const { return sequences_; }     // in the order of their rows
    std::span<const std::int32_t> wanted() const {
        return wanted_;
    }  // rows whose logits are wanted, ascending

    std::span<const std::int32_t> tokens_of(const BatchRows& s) const {
        return tokens().subspan(static_cast<std::size_t>(s.first), static_cast<std::size_t>(s.count));
    }

    // The newest `most` tokens of the sequence before those of `s`, or all if there are fewer; oldest first.
    std::vector<std::int32_t> tokens_before(const BatchRows& s, std::size_t most) const;

    bool has(RowsKind kind) const {
        return std::any_of(sequences_.begin(), sequences_.end(),
                           [&](const BatchRows& s) { return s.kind == kind; });
    }

  private:
    void append(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, int wants, bool context,
                int ahead);

    int context_rows_ = 0;
    std::vector<std::int32_t> tokens_;
    std::vector<std::int64_t> positions_;
    std::vector<BatchRows> sequences_;
    std::vector<std::int32_t> wanted_;
    std::span<const float> streams_;
};

}  // namespace cachalot
