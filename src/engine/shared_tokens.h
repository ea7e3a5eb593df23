// How many tokens two texts have in common, asked again and again while both only become longer.
//
// What was compared is remembered by the number of the other text, so that nothing is compared twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>

namespace cachalot {

class SharedTokens {
  public:
    // Tokens at the beginning that are the same in both. `number` stands for the other text: neither of the
    // two may change, or become shorter, in what it had when this was asked before.
    std::int64_t with(std::int64_t number, std::span<const std::int32_t> mine,
                      std::span<const std::int32_t> theirs) {
        if (known_.size() >= kMost && !known_.contains(number)) known_.clear();  // most of them are gone
        Known& k = known_[number];
        if (k.parted) return k.same;
        const auto from = static_cast<std::size_t>(k.same), most = std::min(mine.size(), theirs.size());
        const auto end = mine.begin() + static_cast<std::ptrdiff_t>(most);
        const auto differs = std::mismatch(mine.begin() + k.same, end, theirs.begin() + k.same).first;
        k.same = differs - mine.begin();
        k.parted = differs != end;
        compared_ += k.same - static_cast<std::int64_t>(from) + k.parted;
        return k.same;
    }

    std::int64_t compared() const { return compared_; }  // pairs of tokens, since the beginning

  private:
    static constexpr std::size_t kMost = 1024;
    struct Known {
        std::int64_t same = 0;
        bool parted = false;  // behind these, for ever
    };
    std::map<std::int64_t, Known> known_;
    std::int64_t compared_ = 0;
};

}  // namespace cachalot
