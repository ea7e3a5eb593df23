#include "model/engram_hash.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

EngramHash::EngramHash(const EngramConfig& config, std::vector<std::int32_t> classes,
                       const std::string& source)
    : config_(config), classes_(std::move(classes)) {
    const std::int32_t count = classes_.empty() ? 0 : 1 + *std::ranges::max_element(classes_);
    if (config_.classes > 0 && count != config_.classes)
        fail("{}: the vocabulary has {} classes of tokens, but the Engram tables were made for {}", source,
             count, config_.classes);
    padding_ = classes_.at(static_cast<std::size_t>(config_.pad_token));
}

void EngramHash::rows(int table, std::span<const std::int32_t> before, std::span<const std::int32_t> tokens,
                      std::vector<std::int64_t>& out) const {
    const auto multipliers = config_.multipliers_of(table), primes = config_.primes_of(table);
    auto class_of = [&](std::ptrdiff_t position) {  // relative to the first token
        if (position >= 0)
            return classes_[static_cast<std::size_t>(tokens[static_cast<std::size_t>(position)])];
        const auto at = position + std::ssize(before);
        return at < 0 ? padding_ : classes_[static_cast<std::size_t>(before[static_cast<std::size_t>(at)])];
    };
    for (std::ptrdiff_t t = 0; t < std::ssize(tokens); ++t) {
        std::int64_t hash = class_of(t) * multipliers[0], offset = 0;
        for (std::size_t n = 1, i = 0; n < multipliers.size(); ++n) {
            hash ^= class_of(t - static_cast<std::ptrdiff_t>(n)) * multipliers[n];
            for (int head = 0; head < config_.heads; ++head, ++i) {
                out.push_back(offset + hash % primes[i]);
                offset += primes[i];
            }
        }
    }
}

}  // namespace cachalot
