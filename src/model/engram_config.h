// Engram: tables of learned rows, looked up by hashes of the last tokens.
//
// For each n from 2 to `longest`, the last n tokens are hashed `heads` times; each hash, modulo a prime of
// its own, is a row of the layer's table. So a token reads rows_per_token() rows of `row_size` values. The
// rows of the hashes follow each other in the table, in the order (n, head).
//
// Tokens count by their class: those that differ only in case, accents or spaces have the same.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cachalot {

struct EngramConfig {
    std::vector<int> layers;                // with a table, ascending; empty: there are none
    std::vector<std::int64_t> rows;         // [layers] of each table: the sum of its primes
    int longest = 0;                        // tokens of the longest n-gram
    int heads = 0;                          // hashes of each n-gram
    int row_size = 0;                       // values of a row
    std::vector<std::int64_t> primes;       // [layers, longest - 1, heads], ascending
    std::vector<std::int64_t> multipliers;  // [layers, longest] of the newest token first
    std::int32_t pad_token = 0;             // its class stands for tokens before the first one
    int classes = 0;                        // of tokens; 0: a file does not say

    bool present() const { return !layers.empty(); }
    int rows_per_token() const { return (longest - 1) * heads; }
    int input_size() const { return rows_per_token() * row_size; }  // of what a layer makes of the rows
    std::span<const std::int64_t> primes_of(int table) const {      // [(n, head)]
        return std::span(primes).subspan(static_cast<std::size_t>(table * rows_per_token()),
                                         static_cast<std::size_t>(rows_per_token()));
    }
    std::span<const std::int64_t> multipliers_of(int table) const {  // [longest]
        return std::span(multipliers)
            .subspan(static_cast<std::size_t>(table * longest), static_cast<std::size_t>(longest));
    }

    bool operator==(const EngramConfig&) const = default;
};

// Sets primes and multipliers as a release means them, which names neither: the first primes from `start` on,
// and odd numbers drawn for each layer. Throws Error, starting with `source`, for sizes that cannot be.
void derive_engram_hashes(EngramConfig& config, std::int64_t start, std::string_view source);

// Throws Error, starting with `source`, for tables that cannot be, or whose rows are not those of the primes.
void validate_engram(const EngramConfig& config, int vocab_size, std::string_view source);

}  // namespace cachalot
