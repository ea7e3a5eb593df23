// Router and experts on the CPU.
//
// The rows of a batch are grouped by expert, so an expert's weights are read once however many tokens chose it. Two
// parallel phases: gate and up with the activation, then down. An item is (expert, block of output rows, block of its
// rows), so a popular expert spreads over all threads; popular experts come first, so that no thread is left with one
// at the end. Every (token, slot) has its own place for the result of `down`; a token's slots are added in slot order
// at the end, which makes the sum independent of the schedule.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/cpu_backend.h"

namespace cachalot::cpu {
namespace {

constexpr std::int64_t kGatherBlock = 16;  // rows

float affinity(float logit) {  // sqrt(softplus(x))
    return std::sqrt(logit > 20.0f ? logit : std::log1p(std::exp(logit)));
}

// The rows that one expert works on, gathered: places [first, first + rows) of the sorted order.
struct Group {
    const ExpertWeights* expert;
    std::int64_t first, rows;
    float limit;
};

}  // namespace

void CpuBackend::route(const RouteCall& c) {
    each(c.rows, std::int64_t(c.rows) * c.experts * 8, [&](std::int64_t r, int thread) {
        const float* logits = c.logits + r * c.experts;
        std::int32_t* ids = c.ids + r * c.top_k;
        float* weights = c.weights + r * c.top_k;
        if (c.table) {
            std::copy_n(c.table + std::int64_t(c.tokens[r]) * c.top_k, c.top_k, ids);
        } else {
            float* score = scratch_[static_cast<std::size_t>(thread)].values.reserve(
                static_cast<std::size_t>(c.experts));
            for (int e = 0; e < c.experts; ++e) {
                score[e] = affinity(logits[e]) + c.bias[e];
                if (std::isnan(score[e]))
                    score[e] = -std::numeric_limits<float>::infinity();  // broken weights
            }
            for (int i = 0; i < c.top_k; ++i) {  // k is small: k passes beat a sort
                int best = -1;
                for (int e = 0; e < c.experts; ++e)
                    if ((best < 0 || score[e] > score[best]) && std::find(ids, ids + i, e) == ids + i)
                        best = e;
                ids[i] = best;
            }
        }
        float sum = 0;
        for (int i = 0; i < c.top_k; ++i) sum += weights[i] = affinity(logits[ids[i]]);
        for (int i = 0; i < c.top_k; ++i) weights[i] = weights[i] / sum * c.scale;
    });
}

void CpuBackend::experts(const ExpertsCall& c) {
    std::int64_t hidden = c.shared->down.rows, slots = std::int64_t(c.rows) * c.top_k;
    // Order of the slots by expert (stable), then the shared expert with every row.
    std::vector<std::int64_t> order(static_cast<std::size_t>(slots));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return c.ids[a] < c.ids[b]; });
    std::vector<Group> groups;
    for (std::int64_t i = 0; i < slots;) {
        std::int64_t end = i;
        while (end < slots && c.ids[order[end]] == c.ids[order[i]]) ++end;
        groups.push_back({c.experts[c.ids[order[i]]], i, end - i, c.limit});
        i = end;
    }
    groups.push_back({c.shared, slots, c.rows, c.shared_limit});
    std::stable_sort(groups.begin(), groups.end(),
                     [](const Group& a, const Group& b) { return a.rows > b.rows; });

    // Place p of the gathered rows: input row, route weight, and where its result goes.
    auto input_row = [&](std::int64_t p) { return p < slots ? order[p] / c.top_k : p - slots; };
    auto route_weight = [&](std::int64_t p) { return p < slots ? c.weights[order[p]] : 1.0f; };
    auto result_row = [&](std::int64_t p) { return p < slots ? order[p] : p; };
    std::int64_t places = slots + c.rows;

    std::int64_t inner = 0, work = 0;
    for (const auto& g : groups) {
        inner = std::max(inner, g.expert->gate.rows);
        work += g.rows * g.expert->gate.rows * hidden;
    }
    // Gather the inputs, so that an expert's rows lie together; as floats only where an expert needs floats.
    auto any_of = [&](auto needs) {
        return std::any_of(groups.begin(), groups.end(), [&](const Group& g) {
            return needs(g.expert->gate) || needs(g.expert->up) || needs(g.expert->down);
        });
    };
    const bool int8 = any_of([&](const Matrix& w) { return wants_int8(w); });
    const bool floats = any_of([&](const Matrix& w) { return !wants_int8(w); });
    float* x = hidden_.reserve(static_cast<std::size_t>(places * (hidden + 2 * inner)));
    float *gate = x + places * hidden, *up = gate + places * inner;
    Int8Group* q = int8 ? expert_input_.reserve(static_cast<std::size_t>(places * hidden / 32)) : nullptr;
    each((places + kGatherBlock - 1) / kGatherBlock, places * hidden, [&](std::int64_t block, int) {
        std::int64_t end = std::min(places, (block + 1) * kGatherBlock);
        for (std::int64_t p = block * kGatherBlock; p < end; ++p) {
            const float* row = c.x + input_row(p) * hidden;
            if (floats) std::copy_n(row, hidden, x + p * hidden);
            if (int8) kernels_.quantize(row, hidden, q + p, places);
        }
    });

    auto rows_of = [&](const Activations& all, std::int64_t first, const Matrix& w) {
        Activations a = all.from_row(first);
        if (!wants_int8(w)) a.q = nullptr;
        return a;
    };
    // Calls body(group, weights first and last, first place, rows) for blocks of the matrix that `pick` names.
    struct Item {
        const Group* group;
        std::int64_t first, last, place;
        int rows;
    };
    std::vector<Item> items;
    auto for_blocks = [&](auto pick, std::int64_t total_work, auto body) {
        items.clear();
        for (const auto& g : groups) {
            const Matrix& w = pick(*g.expert);
            Division d = divide(w, g.rows, groups.size());
            for (std::int64_t n = 0; n < w.rows; n += d.weights)
                for (std::int64_t r = 0; r < g.rows; r += d.rows)
                    items.push_back({&g, n, std::min(n + d.weights, w.rows), g.first + r,
                                     static_cast<int>(std::min(d.rows, g.rows - r))});
        }
        each(static_cast<std::int64_t>(items.size()), total_work,
             [&](std::int64_t i, int) { body(items[static_cast<std::size_t>(i)]); });
    };

    Activations input{x, hidden, q, places};
    for_blocks(
        [](const ExpertWeights& e) -> const Matrix& { return e.gate; }, 2 * work,
        [&](const Item& i) {
            const ExpertWeights& e = *i.group->expert;
            float *to_gate = gate + i.place * inner, *to_up = up + i.place * inner;
            kernels_.matmul(e.gate, i.first, i.last, rows_of(input, i.place, e.gate), i.rows, to_gate, inner);
            kernels_.matmul(e.up, i.first, i.last, rows_of(input, i.place, e.up), i.rows, to_up, inner);
            for (std::int64_t r = 0; r < i.rows; ++r)
                kernels_.swiglu(to_gate + r * inner + i.first, to_up + r * inner + i.first,
                                route_weight(i.place + r), i.group->limit, i.last - i.first);
        });

    float* result =
        partial_.reserve(static_cast<std::size_t>(places * hidden));  // the inputs are still being read
    Activations activated{gate, inner, nullptr, 0};
    if (int8) activated = quantize_rows(gate, inner, inner, static_cast<int>(places), expert_hidden_);
    for_blocks([](const ExpertWeights& e) -> const Matrix& { return e.down; }, work,
               [&](const Item& i) {
                   const Matrix& w = i.group->expert->down;
                   kernels_.matmul(w, i.first, i.last, rows_of(activated, i.place, w), i.rows,
                                   result + i.place * hidden, hidden);
               });
    // Where each slot's result lies among the places.
    std::vector<std::int64_t> place(static_cast<std::size_t>(places));
    for (std::int64_t p = 0; p < places; ++p) place[static_cast<std::size_t>(result_row(p))] = p;
    each(c.rows, places * hidden, [&](std::int64_t r, int) {
        float* y = c.y + r * hidden;
        std::copy_n(result + place[static_cast<std::size_t>(r * c.top_k)] * hidden, hidden, y);
        for (int i = 1; i < c.top_k; ++i)
            kernels_.add(y, result + place[static_cast<std::size_t>(r * c.top_k + i)] * hidden, hidden);
        kernels_.add(y, result + place[static_cast<std::size_t>(slots + r)] * hidden, hidden);
    });
}

}  // namespace cachalot::cpu
