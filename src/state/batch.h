// One forward pass as data: a flat list of rows, each a token of one of several sequences.
//
// Prompts and answers go through the dense matrices together; attention looks at one sequence after the
// other, experts at the rows that chose them. What the rows of a sequence are for is said here and nowhere
// guessed: caches of experts keep other books for prompts than for answers, and rows of a draft may be taken
// back.
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

// The rows of one sequence inside the batch.
struct BatchRows {
    KvState* state;
    RowsKind kind;
    int first;           // row of the batch
    int count;           // rows
    std::int64_t start;  // position of the first
    int first_wanted;    // of the rows whose logits are wanted, the first of this sequence
    int wanted;          // so many: the last ones of the sequence
    bool context;        // only the layers are computed that later tokens read from
};

class Batch {
  public:
    enum class Logits { last, all };

    // Appends tokens that follow those in `state`, which must outlive the batch and be in it once. Not empty.
    void add(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind,
             Logits wanted = Logits::last);

    // Appends the row of one token for a drafter that drafts one after the other: `ahead` tokens stand
    // between those in `state` and this one.
    void add_draft(KvState& state, std::int32_t token, int ahead);

    // Appends tokens of a prompt that are read for those who follow, and of which no logits are wanted: only
    // layers up to Config::context_layers_end() are computed. Behind all others.
    void add_context(KvState& state, std::span<const std::int32_t> tokens);

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

    bool has(RowsKind kind) const {
        return std::any_of(sequences_.begin(), sequences_.end(),
                           [&](const BatchRows& s) { return s.kind == kind; });
    }

  private:
    void append(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind, int wants, bool context,
                int ahead = 0);

    int context_rows_ = 0;
    std::vector<std::int32_t> tokens_;
    std::vector<std::int64_t> positions_;
    std::vector<BatchRows> sequences_;
    std::vector<std::int32_t> wanted_;
    std::span<const float> streams_;
};

}  // namespace cachalot
