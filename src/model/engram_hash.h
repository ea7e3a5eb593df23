// Which rows of the Engram tables a token reads (model/engram_config.h).
//
//   a_i   class of the token i places before, i = 0 .. longest - 1; that of padding before the sequence
//         begins
//   h_n   a_0 m_0 ^ a_1 m_1 ^ ... ^ a_n m_n, of the n-gram of n + 1 tokens; m: the table's multipliers
//   row   h_n mod the prime of (n, head), plus the sum of the primes before it
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/engram_config.h"

namespace cachalot {

class EngramHash {
  public:
    EngramHash() = default;  // of a model without tables

    // `classes` [vocab]: of each token. Throws Error, about `source`, if there are not so many as the
    // configuration says.
    EngramHash(const EngramConfig& config, std::vector<std::int32_t> classes, const std::string& source);

    // Tokens that count besides the newest one.
    std::size_t history() const { return static_cast<std::size_t>(config_.longest - 1); }

    // Appends the rows [tokens, rows_per_token] of `tokens`, which follow `before`. Fewer than history()
    // tokens before are the beginning of the sequence.
    void rows(int table, std::span<const std::int32_t> before, std::span<const std::int32_t> tokens,
              std::vector<std::int64_t>& out) const;

  private:
    EngramConfig config_;
    std::vector<std::int32_t> classes_;
    std::int32_t padding_ = 0;
};

}  // namespace cachalot
