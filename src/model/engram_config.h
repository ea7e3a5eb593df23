// Engram: tables of learned rows, looked up by hashes of the last tokens.
//
// For each n from 2 to `longest`, the last n tokens are hashed `heads` times; each hash, modulo a prime of its
// own, is a row of the layer's table. So a token reads rows_per_token() rows of `row_size` values. The rows
// of the hashes follow each other in the table, in the order (n, head).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cachalot {

struct EngramConfig {
    std::vector<int> layers;         // with a table, ascending; empty: there are none
    std::vector<std::int64_t> rows;  // [layers] of each table
    int longest = 0;                 // tokens of the longest n-gram
    int heads = 0;                   // hashes of each n-gram
    int row_size = 0;                // values of a row
    std::int64_t prime_start = 0;    // primes are those from here on
    std::int32_t pad_token = 0;      // stands for tokens before the first one
    int compressed_vocab = 0;        // classes of tokens that count as one and the same

    bool present() const { return !layers.empty(); }
    int rows_per_token() const { return (longest - 1) * heads; }
    int input_size() const { return rows_per_token() * row_size; }  // of what a layer makes of the rows

    bool operator==(const EngramConfig&) const = default;
};

// The primes of table `table`, [(n, head)]: their sum is its number of rows. No prime serves twice, in
// whatever table. Of a validated configuration.
std::vector<std::int64_t> engram_primes(const EngramConfig& config, int table);

// Throws Error, starting with `source`, for tables that cannot be, or whose rows are not those of the primes.
void validate_engram(const EngramConfig& config, int vocab_size, std::string_view source);

}  // namespace cachalot
