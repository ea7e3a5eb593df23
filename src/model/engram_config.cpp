#include "model/engram_config.h"

#include <numeric>

#include "base/error.h"

namespace cachalot {
namespace {

bool is_prime(std::int64_t n) {
    if (n < 4) return n > 1;
    if (n % 2 == 0) return false;
    for (std::int64_t d = 3; d * d <= n; d += 2)
        if (n % d == 0) return false;
    return true;
}

// The first `count` primes from `start` on. For each size of n-grams the search begins anew and passes over
// what serves already, which comes to the same.
std::vector<std::int64_t> primes_from(std::int64_t start, std::int64_t count) {
    std::vector<std::int64_t> primes;
    for (std::int64_t n = start; std::ssize(primes) < count; ++n)
        if (is_prime(n)) primes.push_back(n);
    return primes;
}

// What the search for primes can do in a moment.
constexpr std::int64_t kMostPrimes = 4096, kLargestStart = std::int64_t(1) << 28;

void check_range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high,
                 std::string_view source) {
    if (value < low || value > high) fail("{}: {} is {}, expected {} to {}", source, what, value, low, high);
}

}  // namespace

std::vector<std::int64_t> engram_primes(const EngramConfig& config, int table) {
    const std::int64_t each = config.rows_per_token();
    const auto all = primes_from(config.prime_start, each * (table + 1));
    return {all.end() - each, all.end()};
}

void validate_engram(const EngramConfig& c, int vocab_size, std::string_view source) {
    if (!c.present()) return;
    if (c.rows.size() != c.layers.size())
        fail("{}: {} sizes of Engram tables for {} layers that have one", source, c.rows.size(),
             c.layers.size());
    check_range("the longest n-gram of Engram", c.longest, 2, 16, source);
    check_range("the number of Engram heads", c.heads, 1, 1024, source);
    check_range("the size of an Engram row", c.row_size, 32, 4096, source);
    if (c.row_size % 32 != 0)
        fail("{}: the size of an Engram row is {}, expected a multiple of 32", source, c.row_size);
    check_range("the width of what Engram reads for a token", std::int64_t{c.rows_per_token()} * c.row_size,
                32, 1 << 20, source);
    check_range("the vocabulary size of Engram", c.prime_start, 2, kLargestStart, source);
    check_range("Engram's padding token", c.pad_token, 0, vocab_size - 1, source);
    check_range("Engram's compressed vocabulary", c.compressed_vocab, 1, vocab_size, source);

    const std::int64_t each = c.rows_per_token(), total = each * std::ssize(c.layers);
    check_range("the number of Engram's hashes", total, 1, kMostPrimes, source);
    const auto primes = primes_from(c.prime_start, total);
    for (std::size_t i = 0; i < c.rows.size(); ++i) {
        const auto first = primes.begin() + each * static_cast<std::int64_t>(i);
        const std::int64_t rows = std::accumulate(first, first + each, std::int64_t{0});
        if (c.rows[i] != rows)
            fail("{}: the Engram table of layer {} has {} rows, but its {} primes from {} on add up to {}",
                 source, c.layers[i], c.rows[i], each, *first, rows);
    }
}

}  // namespace cachalot
