// Prompt look-up: what followed the last time that the sequence had these last tokens (A. Saxena, prompt
// lookup decoding, 2023). It needs no model, and is right where an answer repeats its prompt: summaries,
// edits of code, quotations.
#pragma once

#include <cstddef>

#include "engine/drafter.h"

namespace cachalot {

// Finds the longest match as compressors do: a table of hashes leads to the last place where kGram tokens
// ended, and each place to the one before it.
class LookupDrafter final : public Drafter {
  public:
    static constexpr std::size_t kGram = 3;      // tokens that a match has at least
    static constexpr std::size_t kLongest = 32;  // a longer match is no better
    static constexpr int kTries = 32;            // places that are looked at

    std::vector<std::int32_t> propose(std::span<const std::int32_t> tokens, int most) override;

  private:
    void index(std::span<const std::int32_t> tokens);
    std::size_t slot(std::span<const std::int32_t> tokens, std::size_t end) const;

    // A place is the number of tokens up to the end of a match. None: -1.
    std::vector<std::int32_t> last_;    // [a power of two] by hash
    std::vector<std::int32_t> before_;  // [places] the place before with the same hash
};

}  // namespace cachalot
