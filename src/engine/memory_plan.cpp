#include "engine/memory_plan.h"

#include <algorithm>

#include "cache/expert_budget.h"
#include "cache/expert_records.h"
#include "cache/kv_state.h"
#include "model/cost.h"

namespace cachalot {
namespace {

constexpr std::uint64_t kBuffers = 300'000'000;  // what is allowed beside weights and states
constexpr std::uint64_t kSpareShare = 20;        // one part in so many stays free

}  // namespace

std::int64_t states_bytes(const Config& config, KvPrecision kv, std::int64_t context) {
    const KvState state(config, kv);
    return state.bytes_at(context) + state.growth(0);
}

MemoryPlan plan_memory(const Model& model, const PlanRequest& request) {
    const ExpertRecords records(model);
    const WeightBytes weights = weight_bytes(model.weights);
    MemoryPlan plan;
    plan.available = request.available;
    plan.embedding = weights.embedding;
    plan.dense = weights.dense;
    plan.shared_experts = weights.shared_experts;
    plan.routed_experts = weights.routed_experts;
    plan.states = static_cast<std::uint64_t>(request.states);
    plan.buffers = kBuffers;
    plan.spare = request.available / kSpareShare;
    const auto& header = records.header();
    plan.experts = plan.slots = header.layers * header.experts;
    if (plan.needed() <= plan.available) return plan;

    const std::uint64_t fixed = plan.needed() - plan.routed_experts;
    const std::uint64_t room = plan.available - std::min(plan.available, fixed);
    const int least = std::min(plan.experts, 2 * header.top_k);  // those of a token, and as many on their way
    plan.slots = std::max(slots_of(header, room), least);
    plan.expert_cache = static_cast<std::uint64_t>(plan.slots) * header.largest_expert();
    plan.missing = plan.needed() - std::min(plan.needed(), plan.available);
    return plan;
}

}  // namespace cachalot
