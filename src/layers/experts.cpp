#include "layers/experts.h"

namespace cachalot {

void mixture_of_experts(Backend& backend, const Config& c, const LayerWeights& w, ExpertStore& store,
                        int layer, std::span<const std::int32_t> tokens, Workspace& ws) {
    const Traced span(ws.trace, "mixture_of_experts", layer);
    const std::size_t rows = tokens.size(), k = static_cast<std::size_t>(c.experts_per_token);
    const auto index = static_cast<std::size_t>(layer);

    Projection router{&w.router, ws.x.data(), c.hidden_size,
                      ws.router_logits.reserve(rows * static_cast<std::size_t>(c.experts)), c.experts};
    router.float_inputs = true;  // near ties are common
    backend.project({&router, 1}, static_cast<int>(rows));

    RouteCall route;
    route.rows = static_cast<int>(rows);
    route.logits = ws.router_logits.data();  // [rows, E]
    route.experts = c.experts;
    route.top_k = c.experts_per_token;
    route.bias = w.router_bias.empty() ? nullptr : w.router_bias.data();
    route.table = w.table.empty() ? nullptr : w.table.data();
    route.tokens = tokens.data();
    route.scale = c.routed_scale;
    route.ids = ws.expert_ids.reserve(rows * k);
    route.weights = ws.expert_weights.reserve(rows * k);
    backend.route(route);

    ExpertsCall experts;
    experts.rows = route.rows;
    experts.x = ws.x.data();
    experts.y = ws.out.reserve(rows * static_cast<std::size_t>(c.hidden_size));
    experts.top_k = route.top_k;
    experts.ids = route.ids;
    experts.weights = route.weights;
    experts.routed = &store.layer(layer);
    experts.shared = &w.shared;
    experts.limit = c.swiglu_limit[index];
    experts.shared_limit = c.swiglu_limit_shared[index];
    backend.experts(experts);
}

}  // namespace cachalot
