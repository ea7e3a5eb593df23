// Conversations for the disk tier, and their states.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "prefix/disk_tier.h"
#include "support/small_states.h"

namespace cachalot::test {

using Tokens = std::vector<std::int32_t>;

// The first n tokens of talk number `talk`; talks with the same number modulo 3 begin with the same 300
// tokens.
inline Tokens talk(int number, std::size_t n) {
    Tokens tokens(n);
    std::mt19937 common(static_cast<unsigned>(number % 3)), own(static_cast<unsigned>(number + 1000));
    for (std::size_t i = 0; i < n; ++i) {
        auto value = i < 300 ? common() : own();
        tokens[i] = static_cast<std::int32_t>(value % 1000);
    }
    return tokens;
}

inline DiskTierOptions disk_options(const std::filesystem::path& folder) {
    DiskTierOptions options;
    options.folder = folder / "kv";
    return options;
}

inline Tokens first(const Tokens& tokens, std::int64_t n) { return {tokens.begin(), tokens.begin() + n}; }

inline void store(DiskTier& tier, const Tokens& tokens) {
    tier.store("", tokens, state_of(tokens).checkpoint());
}

inline std::optional<KvCheckpoint> load(DiskTier& tier, const Tokens& tokens, std::int64_t length,
                                        const KvCheckpoint* known = nullptr) {
    const auto read = tier.fetch("", tokens, length, known);
    while (read && !read->done()) tier.wait(std::chrono::seconds(10));
    return read ? read->take() : std::nullopt;
}

// How many of the tokens the tier knows. What it hands out for them must be right.
inline std::int64_t known(DiskTier& tier, const Tokens& tokens) {
    const auto length = tier.find("", tokens);
    if (length == 0) return 0;
    const auto state = load(tier, tokens, length);
    if (!state) return 0;
    EXPECT_TRUE(same(*state, state_of(first(tokens, length)).checkpoint()));
    return length;
}

}  // namespace cachalot::test
