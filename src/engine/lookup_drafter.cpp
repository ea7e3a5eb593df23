#include "engine/lookup_drafter.h"

#include <algorithm>
#include <bit>

namespace cachalot {
namespace {

// How many of the last tokens before the places `a` < `b` are equal.
std::size_t match_length(std::span<const std::int32_t> tokens, std::size_t a, std::size_t b) {
    std::size_t length = 0;
    while (length < LookupDrafter::kLongest && length < a && tokens[a - 1 - length] == tokens[b - 1 - length])
        ++length;
    return length;
}

}  // namespace

std::size_t LookupDrafter::slot(std::span<const std::int32_t> tokens, std::size_t end) const {
    std::uint64_t hash = 0;
    for (std::size_t i = end - kGram; i < end; ++i)
        hash = (hash ^ static_cast<std::uint32_t>(tokens[i])) * 0x9e3779b97f4a7c15u;
    return static_cast<std::size_t>(hash >> 32) & (last_.size() - 1);
}

// Notes the places that something follows.
void LookupDrafter::index(std::span<const std::int32_t> tokens) {
    if (tokens.size() > last_.size()) {
        last_.assign(std::bit_ceil(2 * tokens.size()), -1);
        before_.clear();
    }
    while (before_.size() < tokens.size()) {
        const std::size_t place = before_.size();
        before_.push_back(-1);
        if (place < kGram) continue;
        auto& last = last_[slot(tokens, place)];
        before_.back() = last;
        last = static_cast<std::int32_t>(place);
    }
}

std::vector<std::int32_t> LookupDrafter::propose(std::span<const std::int32_t> tokens, int most) {
    std::vector<std::int32_t> draft;
    index(tokens);
    if (tokens.size() < kGram || most < 1) return draft;
    std::size_t longest = kGram - 1, best = 0;
    int tries = kTries;
    for (auto place = last_[slot(tokens, tokens.size())]; place >= 0 && tries > 0; --tries) {
        const auto at = static_cast<std::size_t>(place);
        if (const auto length = match_length(tokens, at, tokens.size()); length > longest) {
            longest = length;
            best = at;
        }
        place = before_[at];
    }
    if (longest < kGram) return draft;
    // What repeats itself with a short period goes on so.
    for (std::size_t i = best; draft.size() < static_cast<std::size_t>(most); ++i)
        draft.push_back(i < tokens.size() ? tokens[i] : draft[i - tokens.size()]);
    return draft;
}

}  // namespace cachalot
