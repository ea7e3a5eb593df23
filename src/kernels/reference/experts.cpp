// Router and experts.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "kernels/reference/reference.h"

namespace cachalot::reference {
namespace {

float affinity(float logit) {  // sqrt(softplus(x)), softplus linear above 20
    return std::sqrt(logit > 20.0f ? logit : std::log1p(std::exp(logit)));
}

// y += down( weight * silu(min(g, limit)) * clamp(u, -limit, limit) )
void swiglu(const ExpertsCall& c, std::int32_t id, const ExpertWeights& e, const float* x, float weight,
            float limit, float* y) {
    std::int64_t hidden = e.gate.rows;
    std::vector<float> g(static_cast<std::size_t>(hidden)), u(g), out(static_cast<std::size_t>(e.down.rows));
    project({&e.gate, x, e.gate.columns, g.data(), hidden}, 1);
    project({&e.up, x, e.up.columns, u.data(), hidden}, 1);
    for (std::int64_t i = 0; i < hidden; ++i) {
        float gate = std::min(g[i], limit), up = std::clamp(u[i], -limit, limit);
        g[i] = weight * (gate / (1.0f + std::exp(-gate))) * up;
    }
    if (c.observer) c.observer->activated(c, id, g.data(), 1, hidden, hidden);
    project({&e.down, g.data(), hidden, out.data(), e.down.rows}, 1);
    for (std::int64_t i = 0; i < e.down.rows; ++i) y[i] += out[i];
}

}  // namespace

void route(const RouteCall& c) {
    for (int r = 0; r < c.rows; ++r) {
        const float* logits = c.logits + std::int64_t(r) * c.experts;
        std::int32_t* ids = c.ids + std::int64_t(r) * c.top_k;
        float* weights = c.weights + std::int64_t(r) * c.top_k;
        if (c.table) {
            std::copy_n(c.table + std::int64_t(c.tokens[r]) * c.top_k, c.top_k, ids);
        } else {  // the bias balances the load: it takes part in the choice, not in the weights
            std::vector<std::pair<float, std::int32_t>> order;
            for (int e = 0; e < c.experts; ++e) {
                float score = affinity(logits[e]) + c.bias[e];
                order.emplace_back(std::isnan(score) ? -std::numeric_limits<float>::infinity() : score, e);
            }
            std::stable_sort(order.begin(), order.end(), [](auto& a, auto& b) { return a.first > b.first; });
            for (int i = 0; i < c.top_k; ++i) ids[i] = order[i].second;
        }
        float sum = 0;
        for (int i = 0; i < c.top_k; ++i) sum += weights[i] = affinity(logits[ids[i]]);
        for (int i = 0; i < c.top_k; ++i) weights[i] = weights[i] / sum * c.scale;
    }
}

void experts(const ExpertsCall& c) {
    const std::int64_t hidden = c.shared->down.rows, slots = std::int64_t(c.rows) * c.top_k;
    std::map<std::int32_t, std::vector<std::int64_t>>
        chosen;  // by expert: the slots [rows, top_k] that it fills
    for (std::int64_t slot = 0; slot < slots; ++slot) chosen[c.ids[slot]].push_back(slot);
    std::vector<std::int32_t> ids, rows;
    for (const auto& [id, filled] : chosen) {
        std::set<std::int64_t> of_rows;
        for (std::int64_t slot : filled) of_rows.insert(slot / c.top_k);
        ids.push_back(id);
        rows.push_back(static_cast<std::int32_t>(of_rows.size()));
    }
    c.routed->request(ids, rows);

    // As they come; the results are kept apart, so that the order does not matter.
    std::vector<float> results(static_cast<std::size_t>(slots * hidden));  // [rows, top_k, H]
    std::vector<const ExpertWeights*> weights(ids.size());
    for (std::size_t left = ids.size(); left > 0;) {
        left -= c.routed->next(weights);
        for (std::size_t i = 0; i < ids.size(); ++i)
            if (weights[i])
                for (std::int64_t slot : chosen[ids[i]])
                    swiglu(c, ids[i], *weights[i], c.x + slot / c.top_k * hidden, c.weights[slot], c.limit,
                           results.data() + slot * hidden);
    }
    for (std::int64_t r = 0; r < c.rows; ++r) {
        float* y = c.y + r * hidden;
        std::fill_n(y, hidden, 0.0f);
        for (std::int64_t slot = r * c.top_k; slot < (r + 1) * c.top_k; ++slot)
            for (std::int64_t i = 0; i < hidden; ++i) y[i] += results[slot * hidden + i];
        swiglu(c, kSharedExpert, *c.shared, c.x + r * hidden, 1.0f, c.shared_limit, y);
    }
}

}  // namespace cachalot::reference
