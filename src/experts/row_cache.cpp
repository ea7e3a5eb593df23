#include "experts/row_cache.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kWays = 8;
constexpr std::uint64_t kKeyBytes = sizeof(std::uint64_t);
constexpr std::uint64_t kMostSets = std::uint64_t{1} << 32;

// The finaliser of SplitMix64.
std::uint64_t hash_of(std::uint64_t row) {
    row += 0x9e37'79b9'7f4a'7c15;
    row = (row ^ row >> 30) * 0xbf58'476d'1ce4'e5b9;
    row = (row ^ row >> 27) * 0x94d0'49bb'1331'11eb;
    return row ^ row >> 31;
}

std::uint64_t rows_in(std::uint64_t budget, std::uint64_t row_bytes, std::uint64_t most) {
    // The sketch is of whole lines.
    const std::uint64_t room = budget - std::min(budget, FrequencySketch::kLine);
    const std::uint64_t rows =
        std::min({room / (row_bytes + kKeyBytes + FrequencySketch::kBytesPerKey), most, kWays * kMostSets});
    if (rows == 0)
        fail("the Engram cache: not a single row fits into {} bytes; it takes {}", budget,
             RowCache::bytes_for(1, row_bytes));
    return rows < kWays ? rows : rows / kWays * kWays;
}

}  // namespace

std::uint64_t RowCache::bytes_for(std::uint64_t rows, std::uint64_t row_bytes) {
    return rows * (row_bytes + kKeyBytes + FrequencySketch::kBytesPerKey) + FrequencySketch::kLine;
}

RowCache::RowCache(std::uint64_t budget, std::uint64_t row_bytes, std::uint64_t most)
    : row_bytes_(row_bytes),
      keys_(rows_in(budget, row_bytes, most), 0),
      uses_(keys_.size()),
      memory_(
          checked_cast<std::size_t>(checked_mul(row_bytes, std::uint64_t{keys_.size()}, "the Engram cache"),
                                    "the Engram cache"),
          "the Engram cache") {
    ways_ = std::min<std::uint64_t>(keys_.size(), kWays);
    sets_ = keys_.size() / ways_;
}

const std::byte* RowCache::find(std::uint64_t row) {
    const std::uint64_t hash = hash_of(row), first = first_of_set(hash);
    uses_.count(hash);
    for (std::uint64_t way = first; way < first + ways_; ++way)
        if (keys_[way] == row + 1) return place(way);
    return nullptr;
}

void RowCache::offer(std::uint64_t row, const std::byte* bytes) {
    const std::uint64_t hash = hash_of(row), first = first_of_set(hash);
    std::uint64_t to = first;
    int least = FrequencySketch::kMost + 1;
    // Of several that were used as little, another one leaves each time.
    ++offers_;
    for (std::uint64_t i = 0; i < ways_; ++i) {
        const std::uint64_t way = first + (offers_ + i) % ways_;
        if (keys_[way] == row + 1) return;
        const int uses = keys_[way] == 0 ? -1 : uses_.uses(hash_of(keys_[way] - 1));
        if (uses >= least) continue;
        least = uses;
        to = way;
    }
    if (uses_.uses(hash) < least) return;
    if (least < 0) ++residents_;
    keys_[to] = row + 1;
    std::memcpy(place(to), bytes, row_bytes_);
}

}  // namespace cachalot
