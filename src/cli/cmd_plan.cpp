// cachalot plan: what of a model fits into memory, and about how fast it will be.
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/memory_limit.h"
#include "cli/command.h"
#include "cli/option_value.h"
#include "engine/memory_plan.h"
#include "engine/speed_estimate.h"
#include "experts/expert_budget.h"
#include "kernels/cpu/cpu_options.h"
#include "measure/machine_limits.h"
#include "model/synthetic.h"
#include "model/type_plan.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

struct PlanOptions {
    ModelOptions model;
    std::string like, recipe;  // empty: a model that is there, with the types that it has
    std::string memory;        // empty: what is available
    std::int64_t context = 0;
    int parallel = 1;
    std::string disk_speed;  // empty: measured
    bool estimate = true, json = false;
};

// What is planned for.
struct Subject {
    std::shared_ptr<const Model> model;  // null: it is not there
    ModelSize size;
    std::string name;  // for people
};

Subject subject_of(const PlanOptions& o) {
    Subject subject;
    TypeOf types = release_type;
    Config config;
    if (o.like.empty()) {
        subject.model = o.model.load();
        config = subject.model->config;
        types = types_of(*subject.model);
        subject.name = visible_line(config.name.empty() ? o.model.resolved_path() : config.name);
    } else {
        if (!o.model.path.empty())
            wrong_usage("--like plans for a model that is not there, and -m names one");
        if (!o.model.draft_model.empty())
            wrong_usage(
                "--like plans for a model that is not there, and --draft-model names a drafter of one");
        config = known_config(o.like);
        subject.name = o.recipe.empty() ? o.like + ", as released" : o.like;
    }
    if (!o.recipe.empty()) {
        types = with_recipe(o.recipe, config, types);
        subject.name += ", with the recipe " + o.recipe;
    }
    subject.size = subject.model && o.recipe.empty() ? size_of(*subject.model) : size_of(config, types);
    if (subject.model) subject.size.drafter = drafter_size(*subject.model);
    return subject;
}

// What this machine is measured to do.
std::optional<SpeedEstimate> estimate(const Subject& subject, const MemoryPlan& plan, const PlanOptions& o) {
    if (!o.estimate) return std::nullopt;
    double disk = 0;
    if (!o.disk_speed.empty()) {
        disk = parse_bytes(o.disk_speed, "--disk-speed");
    } else if (!subject.model) {
        say_note(
            "how fast it will be is not said: there are no files to measure; --disk-speed says how fast "
            "they will be read");
        return std::nullopt;
    } else {
        disk = measure_expert_reads(*subject.model);
    }
    return estimate_speed(subject.size, plan,
                          measure_limits(*make_cpu_primitives({}), {}, ReadingTarget()).read_bytes_per_second,
                          disk);
}

std::string range_text(const Range& range, double factor, int digits) {
    return fmt::format("{:.{}f} to {:.{}f}", range.low * factor, digits, range.high * factor, digits);
}

nlohmann::ordered_json range_json(const Range& range) { return {{"low", range.low}, {"high", range.high}}; }

nlohmann::ordered_json speed_json(const std::optional<SpeedEstimate>& e) {
    if (!e) return nullptr;
    return {{"memory_bytes_per_second", e->memory_bytes_per_second},
            {"disk_bytes_per_second", e->disk_bytes_per_second},
            {"hit_rate", range_json(e->hit_rate)},
            {"bytes_read_per_token", range_json(e->bytes_read)},
            {"tokens_per_second", range_json(e->tokens_per_second)}};
}

void print_speed(const SpeedEstimate& e, bool resident) {
    auto speed = [](double bytes) { return human_bytes(static_cast<std::uint64_t>(bytes)) + "/s"; };
    const int digits = e.tokens_per_second.high < 10 ? 1 : 0;
    if (!resident || e.bytes_read.high > 0)
        print_line(fmt::format("expected  {} % hits, {} MB read for a token, at {} of the disk",
                               range_text(e.hit_rate, 100, 0), range_text(e.bytes_read, 1e-6, 0),
                               speed(e.disk_bytes_per_second)));
    print_line(
        fmt::format("          {} tokens/s of an answer, at {} of the memory; an estimate, texts differ",
                    range_text(e.tokens_per_second, 1, digits), speed(e.memory_bytes_per_second)));
}

nlohmann::ordered_json plan_json(const MemoryPlan& plan, const std::optional<SpeedEstimate>& speed,
                                 const MemoryLimit& limit, const PlanOptions& o, const std::string& model) {
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
          {"drafter", plan.drafter},
          {"engram_tables", plan.engram_on_disk() ? 0 : plan.engram},
          {"engram_tables_on_disk", plan.engram_on_disk() ? plan.engram : 0},
          {"engram_cache", plan.engram_cache},
          {"engram_buffers", plan.engram_buffers},
          {"attention_states", plan.states},
          {"buffers", plan.buffers},
          {"spare", plan.spare}}},
        {"resident", plan.resident()},
        {"engram_on_disk", plan.engram_on_disk()},
        {"expert_cache", {{"bytes", plan.expert_cache}, {"slots", plan.slots}, {"experts", plan.experts}}},
        {"missing_bytes", plan.missing},
        {"speed", speed_json(speed)}};
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
    if (plan.drafter) row("drafter", plan.drafter);
    row(fmt::format("attention states of {} x {} tokens", o.parallel, o.context), plan.states);
    row(fmt::format("buffers, for passes of {} tokens", plan.chunk), plan.buffers);
    row("left free", plan.spare);
    row("routed experts", plan.routed_experts);
    if (plan.engram_on_disk()) {
        row("cache of Engram rows, and buffers", plan.engram_cache + plan.engram_buffers);
        row("Engram tables, which stay on disk", plan.engram);
    } else if (plan.engram) {
        row("Engram tables", plan.engram);
    }
    if (plan.resident())
        return print_line(plan.engram_on_disk() ? "Everything else fits." : "Everything fits.");
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
    const Subject subject = subject_of(o);
    const Config& config = subject.size.config;
    const MemoryLimit limit = memory_limit();
    const auto longest = config.context_length;
    if (o.context == 0) o.context = longest;
    if (o.context > longest)
        fail("context: {} is out of range (the model was trained for {} tokens)", o.context, longest);
    PlanRequest request;
    request.available =
        o.memory.empty() ? limit.available : static_cast<std::uint64_t>(parse_bytes(o.memory, "--memory"));
    request.chunk = o.model.chunk;
    request.drafter = subject.model && uses_drafter(o.model, *subject.model);
    request.sequences = o.parallel;
    request.states = o.parallel * states_bytes(config, o.model.kv_precision(), o.context,
                                               request.drafter ? subject.model->draft.get() : nullptr);
    const MemoryPlan plan = plan_memory(subject.size, request);
    const auto speed = estimate(subject, plan, o);
    if (o.json)
        return print_line(plan_json(plan, speed, limit, o, subject.name)
                              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    print_plan(plan, limit, o, subject.name);
    if (speed) print_speed(*speed, plan.resident());
}

}  // namespace

void add_plan(CLI::App& app) {
    auto o = std::make_shared<PlanOptions>();
    auto* command = app.add_subcommand("plan",
                                       "Shows what of a model fits into memory, what --expert-cache auto "
                                       "does, and about how fast it will be");
    o->model.add_to(*command, false);
    command
        ->add_option("--like", o->like,
                     "plan for a model that is not there: flash, pro or v41-flash as released (also tiny and "
                     "v41-tiny, the shapes of synth)")
        ->check(one_of({"flash", "pro", "v41-flash", "tiny", "v41-tiny"}))
        ->type_name("SHAPE");
    command->add_option("--recipe", o->recipe, "plan for what convert --recipe would make of the model")
        ->check(
            one_of(std::vector<std::string>(std::begin(TypePlan::kRecipes), std::end(TypePlan::kRecipes))))
        ->type_name("RECIPE");
    command->add_option("-c,--ctx", o->context, "tokens of a conversation; 0: what the model was trained for")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->type_name("TOKENS");
    command->add_option("--parallel", o->parallel, "conversations at the same time")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str()
        ->type_name("N");
    o->model.add_kv_to(*command);
    o->model.add_draft_mode_to(*command);
    command
        ->add_option("--chunk", o->model.chunk,
                     "tokens of a prompt that are evaluated together; 0: as run and serve choose")
        ->check(CLI::Range(0, 65536))
        ->type_name("N");
    command
        ->add_option("--memory", o->memory,
                     "plan for so much available memory instead of this machine's (64GB)")
        ->type_name("SIZE");
    command
        ->add_option(
            "--disk-speed", o->disk_speed,
            "bytes a second of the disk, instead of measuring for a second how fast experts are read (7GB)")
        ->type_name("SIZE");
    command->add_flag("!--no-estimate", o->estimate,
                      "do not measure this machine, and do not say how fast it will be");
    command->add_flag("--json", o->json, "print JSON");
    command->callback([o] { show_plan(*o); });
}

}  // namespace cachalot::cli
