// States of a small model whose every byte follows from the tokens before it, computed by nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "state/kv_state.h"

namespace cachalot::test {

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
    auto fill_ring = [&](const RowRing& ring, std::uint64_t salt) {
        const auto view = ring.view(state.slab().address());
        for (auto p = std::max<std::int64_t>(0, n - ring.keep - kRollback); p < n; ++p)
            fill(view.row(p), ring.row_bytes, p, salt);
    };
    // The salts are those of the records in tests/data/disk-records.
    for (std::uint64_t salt = 0; const auto& layer : state.layout().layers()) {
        fill_ring(layer.window, salt + 1);
        std::uint64_t which = salt + 2;
        layer.each_compressor([&](const CompressorLayout& c) {
            const auto rows = c.rows(state.pages().addresses());
            for (std::int64_t r = 0; r < n / c.ratio; ++r)
                fill(rows.row(r), c.row_bytes, (r + 1) * c.ratio - 1, which);
            fill_ring(c.kv, which + 1);
            fill_ring(c.score, which + 2);
            which += 3;
        });
        salt += 100;
    }
    state.advance(tokens);
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

}  // namespace cachalot::test
