// The runs of bytes that an expert's weights consist of, in the order in which the kernels use them: gate,
// up, down, each followed by its scales where the format has scales of its own.
#pragma once

#include <vector>

#include "kernels/expert_supply.h"

namespace cachalot {

struct ExpertPart {
    const char* name;  // "gate", "up", "down"
    const std::byte* data;
    std::uint64_t bytes;
};

inline std::vector<ExpertPart> parts_of(const ExpertWeights& expert) {
    std::vector<ExpertPart> parts;
    auto add = [&](const char* name, const Matrix& m) {
        const std::int64_t data_bytes = m.rows * m.stride;
        parts.push_back({name, m.data, static_cast<std::uint64_t>(data_bytes)});
        if (m.scales)
            parts.push_back({name, reinterpret_cast<const std::byte*>(m.scales),
                             static_cast<std::uint64_t>(m.bytes() - data_bytes)});
    };
    add("gate", expert.gate);
    add("up", expert.up);
    add("down", expert.down);
    return parts;
}

// The same weights, their parts where `place(i)` says.
template <class Place>
ExpertWeights with_parts_at(const ExpertWeights& expert, const Place& place) {
    ExpertWeights weights = expert;
    std::size_t part = 0;
    for (Matrix* m : {&weights.gate, &weights.up, &weights.down}) {
        m->data = place(part++);
        if (m->scales) m->scales = reinterpret_cast<const std::uint8_t*>(place(part++));
    }
    return weights;
}

}  // namespace cachalot
