#include "model/engram_config.h"

#include <limits>
#include <numeric>

#include "base/error.h"
#include "model/engram_random.h"

namespace cachalot {
namespace {

// What a search for primes, and a proof of them, does in a moment.
constexpr std::int64_t kMostPrimes = 4096, kLargestPrime = std::int64_t(1) << 28;

bool is_prime(std::int64_t n) {
    if (n < 4) return n > 1;
    if (n % 2 == 0) return false;
    for (std::int64_t d = 3; d * d <= n; d += 2)
        if (n % d == 0) return false;
    return true;
}

void check_range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high,
                 std::string_view source) {
    if (value < low || value > high) fail("{}: {} is {}, expected {} to {}", source, what, value, low, high);
}

void check_sizes(const EngramConfig& c, std::string_view source) {
    check_range("the longest n-gram of Engram", c.longest, 2, 16, source);
    check_range("the number of Engram heads", c.heads, 1, 1024, source);
    check_range("the size of an Engram row", c.row_size, 32, 4096, source);
    if (c.row_size % 32 != 0)
        fail("{}: the size of an Engram row is {}, expected a multiple of 32", source, c.row_size);
    check_range("the width of what Engram reads for a token", std::int64_t{c.rows_per_token()} * c.row_size,
                32, 1 << 20, source);
    check_range("the number of Engram's hashes", std::int64_t{c.rows_per_token()} * std::ssize(c.layers), 1,
                kMostPrimes, source);
}

}  // namespace

void derive_engram_hashes(EngramConfig& c, std::int64_t start, std::string_view source) {
    check_sizes(c, source);
    check_range("the vocabulary size of Engram", start, 2, kLargestPrime / 2, source);
    check_range("the number of token classes of Engram", c.classes, 1, 1 << 20, source);
    // A release begins anew for each size of n-grams and passes over what serves already; that comes to this.
    const std::int64_t count = c.rows_per_token() * std::ssize(c.layers);
    c.primes.clear();
    for (std::int64_t n = start; std::ssize(c.primes) < count; ++n)
        if (is_prime(n)) c.primes.push_back(n);
    // A class times a multiplier stays below 2^63.
    const std::int64_t bound = std::numeric_limits<std::int64_t>::max() / c.classes / 2;
    c.multipliers.clear();
    for (const int layer : c.layers) {
        EngramRandom random(layer);
        for (int i = 0; i < c.longest; ++i)
            c.multipliers.push_back(
                static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound))) * 2 + 1);
    }
}

void validate_engram(const EngramConfig& c, int vocab_size, std::string_view source) {
    if (!c.present()) return;
    check_sizes(c, source);
    if (c.rows.size() != c.layers.size())
        fail("{}: {} sizes of Engram tables for {} layers that have one", source, c.rows.size(),
             c.layers.size());
    const auto each = static_cast<std::size_t>(c.rows_per_token());
    if (c.primes.size() != each * c.layers.size())
        fail("{}: {} prime sizes of Engram, expected {}", source, c.primes.size(), each * c.layers.size());
    if (c.multipliers.size() != static_cast<std::size_t>(c.longest) * c.layers.size())
        fail("{}: {} multipliers of Engram, expected {} for each table", source, c.multipliers.size(),
             c.longest);
    check_range("Engram's padding token", c.pad_token, 0, vocab_size - 1, source);
    check_range("the number of token classes of Engram", c.classes, 0, vocab_size, source);
    for (std::size_t i = 0; i < c.primes.size(); ++i) {
        check_range("a prime size of Engram", c.primes[i], 2, kLargestPrime, source);
        if (!is_prime(c.primes[i])) fail("{}: the prime size {} of Engram is no prime", source, c.primes[i]);
        if (i && c.primes[i] <= c.primes[i - 1])
            fail("{}: the prime sizes of Engram are not ascending: {} after {}", source, c.primes[i],
                 c.primes[i - 1]);
    }
    for (const std::int64_t m : c.multipliers)
        if (m <= 0 || m % 2 == 0) fail("{}: the multiplier {} of Engram is not positive and odd", source, m);
    for (std::size_t i = 0; i < c.rows.size(); ++i) {
        const auto primes = c.primes_of(static_cast<int>(i));
        const std::int64_t rows = std::accumulate(primes.begin(), primes.end(), std::int64_t{0});
        if (c.rows[i] != rows)
            fail("{}: the Engram table of layer {} has {} rows, but its {} primes from {} on add up to {}",
                 source, c.layers[i], c.rows[i], each, primes.front(), rows);
    }
}

}  // namespace cachalot
