// The last tokens of a sequence: what tables that are looked up by several tokens need besides the new ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "state/row_ring.h"

namespace cachalot {

class RecentTokens {
  public:
    // Known after any rollback that a state can do, unless the sequence is shorter.
    static constexpr std::size_t kKept = 15;

    void append(std::span<const std::int32_t> tokens) {
        tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
        trim(kKept + static_cast<std::size_t>(kRollback));
    }
    void drop(std::size_t count) { tokens_.resize(tokens_.size() - std::min(count, tokens_.size())); }
    void trim(std::size_t most) {
        if (tokens_.size() > most)
            tokens_.erase(tokens_.begin(), tokens_.end() - static_cast<std::ptrdiff_t>(most));
    }

    // The newest `most`, or all if there are fewer; oldest first.
    std::span<const std::int32_t> last(std::size_t most) const {
        return std::span(tokens_).last(std::min(most, tokens_.size()));
    }

  private:
    std::vector<std::int32_t> tokens_;
};

}  // namespace cachalot
