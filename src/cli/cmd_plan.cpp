// cachalot plan: what of a model fits into memory.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/memory_limit.h"
#include "cache/expert_budget.h"
#include "cli/command.h"
#include "engine/memory_plan.h"

namespace cachalot::cli {
namespace {

struct PlanOptions {
    ModelOptions model;
    std::string memory;  // empty: what is available
    std::int64_t context = 0;
    int parallel = 1;
    bool json = false;
};

nlohmann::ordered_json plan_json(const MemoryPlan& plan, const MemoryLimit& limit, const PlanOptions& o,
                                 const std::string& model) {
    return {
        {"model", model},
        {"memory",
         {{"total", limit.total}, {"available", plan.available}, {"limited_by_group", limit.of_group}}},
        {"context", o.context},
        {"parallel", o.parallel},
        {"chunk", plan.chunk},
        {"bytes",
         {{"embedding", plan.embedding},
          {"dense", plan.dense},
          {"shared_experts", plan.shared_experts},
          {"routed_experts", plan.routed_experts},
          {"attention_states", plan.states},
          {"buffers", plan.buffers},
          {"spare", plan.spare}}},
        {"resident", plan.resident()},
        {"expert_cache", {{"bytes", plan.expert_cache}, {"slots", plan.slots}, {"experts", plan.experts}}},
        {"missing_bytes", plan.missing}};
}

void print_plan(const MemoryPlan& plan, const MemoryLimit& limit, const PlanOptions& o,
                const std::string& model) {
    auto row = [](const std::string& name, std::uint64_t bytes) {
        print_line(fmt::format("  {:<44}{:>12}", name, human_bytes(bytes)));
    };
    print_line(fmt::format("model     {}", model));
    print_line(fmt::format(
        "memory    {} available{}", human_bytes(plan.available),
        !o.memory.empty() ? ", as you say"
        : limit.of_group  ? fmt::format(" of {} that its control group may use", human_bytes(limit.total))
                          : fmt::format(" of {}", human_bytes(limit.total))));
    row("embedding", plan.embedding);
    row("dense weights", plan.dense);
    row("shared experts", plan.shared_experts);
    row(fmt::format("attention states of {} x {} tokens", o.parallel, o.context), plan.states);
    row(fmt::format("buffers, for passes of {} tokens", plan.chunk), plan.buffers);
    row("left free", plan.spare);
    row("routed experts", plan.routed_experts);
    if (plan.resident()) return print_line("Everything fits.");
    print_line(fmt::format(
        "Not everything fits: a cache of {} holds {} of {} routed experts ({:.0f} %), the others are read\n"
        "from disk when they are needed (--expert-cache auto).",
        human_bytes(plan.expert_cache), plan.slots, plan.experts, 100.0 * plan.slots / plan.experts));
    if (plan.missing > 0)
        print_line(fmt::format(
            "Even so {} are missing, and weights that every token needs will be read again and again.",
            human_bytes(plan.missing)));
}

void show_plan(PlanOptions o) {
    const auto model = o.model.load();
    const MemoryLimit limit = memory_limit();
    const auto longest = model->config.context_length;
    if (o.context == 0) o.context = longest;
    if (o.context > longest)
        fail("context: {} is out of range (the model was trained for {} tokens)", o.context, longest);
    PlanRequest request;
    request.available =
        o.memory.empty() ? limit.available : static_cast<std::uint64_t>(parse_bytes(o.memory, "--memory"));
    request.chunk = o.model.chunk;
    request.states = o.parallel * states_bytes(model->config, o.model.kv_precision(), o.context);
    const MemoryPlan plan = plan_memory(*model, request);
    const std::string name = model->config.name.empty() ? o.model.resolved_path() : model->config.name;
    if (o.json)
        print_line(plan_json(plan, limit, o, name).dump(2));
    else
        print_plan(plan, limit, o, name);
}

}  // namespace

void add_plan(CLI::App& app) {
    auto o = std::make_shared<PlanOptions>();
    auto* command = app.add_subcommand(
        "plan", "Shows what of a model fits into memory, and what --expert-cache auto does");
    o->model.add_to(*command, false);
    command->add_option("-c,--ctx", o->context, "tokens of a conversation; 0: what the model was trained for")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->type_name("N");
    command->add_option("--parallel", o->parallel, "conversations at the same time")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str()
        ->type_name("N");
    o->model.add_kv_to(*command);
    command
        ->add_option("--chunk", o->model.chunk,
                     "tokens of a prompt that are evaluated together; 0: as is best")
        ->check(CLI::Range(0, 65536))
        ->type_name("N");
    command
        ->add_option("--memory", o->memory,
                     "plan for so much available memory instead of this machine's (64GB)")
        ->type_name("SIZE");
    command->add_flag("--json", o->json, "print JSON");
    command->callback([o] { show_plan(*o); });
}

}  // namespace cachalot::cli
