// States for the disk tier whose every byte follows from the tokens before it, without a model; and conversations.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "prefix/disk_tier.h"

namespace cachalot::test {

using Tokens = std::vector<std::int32_t>;

inline Config small_config() {
    Config config;
    config.layers = 4;
    config.layer_shapes = v4_layers(std::array{0, 4, 128, 4});
    config.head_dim = 64 + 32;
    config.rope_dim = 32;
    config.index_head_dim = 32;
    config.sliding_window = 32;
    return config;
}

inline const std::shared_ptr<KvPool>& small_pool() {
    static const auto pool =
        std::make_shared<KvPool>(KvLayout(small_config(), KvPrecision::reference), make_host_device());
    return pool;
}

inline KvState empty_state() { return KvState(small_pool()); }

// The state after these tokens.
inline KvState state_of(std::span<const std::int32_t> tokens) {
    std::vector<std::uint64_t> history;  // a number for all tokens up to each
    std::uint64_t h = 1469598103934665603u;
    for (auto token : tokens) history.push_back(h = (h ^ static_cast<std::uint32_t>(token)) * 1099511628211u);
    auto fill = [&](std::byte* row, std::int64_t bytes, std::int64_t position, std::uint64_t salt) {
        std::mt19937_64 random(history[static_cast<std::size_t>(position)] + salt);
        for (std::int64_t i = 0; i < bytes; i += 8) {
            auto value = random();
            std::memcpy(row + i, &value, static_cast<std::size_t>(std::min<std::int64_t>(8, bytes - i)));
        }
    };
    auto state = empty_state();
    const auto n = static_cast<std::int64_t>(tokens.size());
    state.extend(n);
    std::uint64_t salt = 0;
    for (const auto& layer : state.layout().layers()) {
        layer.each_ring(n, [&](const RowRing& ring, std::int64_t /*needed*/) {
            const auto view = ring.view(state.slab().address());
            ++salt;
            for (auto p = std::max<std::int64_t>(0, n - ring.keep - kRollback); p < n; ++p)
                fill(view.row(p), ring.row_bytes, p, salt);
        });
        layer.each_compressor([&](const CompressorLayout& c) {
            const auto rows = c.rows(state.pages().addresses());
            ++salt;
            for (std::int64_t r = 0; r < n / c.ratio; ++r)
                fill(rows.row(r), c.row_bytes, (r + 1) * c.ratio - 1, salt);
        });
    }
    state.advance(n);
    return state;
}

inline bool same(const KvCheckpoint& a, const KvCheckpoint& b) {
    bool equal = a.length == b.length && a.layout() == b.layout() && std::ranges::equal(a.rings, b.rings);
    for (const auto& layer : a.layout().layers())
        layer.each_compressor([&](const CompressorLayout& c) {
            const auto in_a = c.rows(a.pages.addresses()), in_b = c.rows(b.pages.addresses());
            for (std::int64_t r = 0; equal && r < a.length / c.ratio; ++r)
                equal = std::memcmp(in_a.row(r), in_b.row(r), static_cast<std::size_t>(c.row_bytes)) == 0;
        });
    return equal;
}

// The first n tokens of talk number `talk`; talks with the same number modulo 3 begin with the same 300 tokens.
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
