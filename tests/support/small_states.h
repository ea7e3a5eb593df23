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

inline KvState empty_state() { return KvState(small_config(), KvPrecision::reference); }

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
    for (int l = 0; l < 4; ++l) {
        auto& layer = state.layer(l);
        const auto salt = static_cast<std::uint64_t>(l) * 100;
        auto ring = [&](RowRing& rows, std::uint64_t which) {
            AlignedBuffer<std::byte> scratch;
            auto view = rows.open(0, n, scratch);
            for (auto p = std::max<std::int64_t>(0, n - rows.keep() - kRollback); p < n; ++p)
                fill(view.row(p), rows.row_bytes(), p, salt + which);
            rows.close(view, 0, n);
        };
        ring(layer.window, 1);
        std::uint64_t which = 2;
        for (auto* c : {&layer.compressed, &layer.index}) {
            if (!c->ratio) continue;
            for (std::int64_t r = 0; r < n / c->ratio; ++r)
                fill(c->rows.view().row(r), c->rows.row_bytes(), (r + 1) * c->ratio - 1, salt + which);
            ring(c->kv, which + 1);
            ring(c->score, which + 2);
            which += 3;
        }
    }
    state.advance(n);
    return state;
}

inline bool same_rows(const PagedRows& a, const PagedRows& b) {
    if (a.size() != b.size() || a.row_bytes() != b.row_bytes()) return false;
    for (std::int64_t r = 0; r < a.size(); ++r)
        if (std::memcmp(a.view().row(r), b.view().row(r), static_cast<std::size_t>(a.row_bytes())) != 0)
            return false;
    return true;
}

inline bool same(const KvCheckpoint& a, const KvCheckpoint& b) {
    bool equal = a.length == b.length && a.precision == b.precision && a.layers.size() == b.layers.size() &&
                 std::ranges::equal(a.rings, b.rings);
    for (std::size_t l = 0; equal && l < a.layers.size(); ++l)
        equal = same_rows(a.layers[l].compressed, b.layers[l].compressed) &&
                same_rows(a.layers[l].index, b.layers[l].index);
    return equal;
}

}  // namespace cachalot::test
