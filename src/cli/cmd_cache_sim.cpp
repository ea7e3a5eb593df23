// cachalot cache-sim: what a cache of experts would have done with recorded routes.
#include "base/error.h"
#include "cli/cache_sim_plot.h"
#include "cli/cache_sim_report.h"
#include "cli/command.h"
#include "cli/outputs.h"
#include "cli/svg_figure.h"
#include "experts/expert_budget.h"
#include "measure/cache_simulator.h"
#include "measure/synthetic_trace.h"

namespace cachalot::cli {
namespace {

struct CacheSimOptions {
    std::vector<std::string> traces;
    std::vector<std::string> budgets = {"5%", "10%", "20%", "40%"};
    std::vector<std::string> policies = {"all"};
    std::string disk_bandwidth = "3GB", plot;
    double disk_latency = 0.1, layer_compute = 0;  // ms
    int prompt_pass = 0;
    bool synthetic = false, join = false, json = false;
    PolicyOptions policy;
};

// Names of policies, Belady first.
std::vector<std::string> chosen_policies(const std::vector<std::string>& asked) {
    std::vector<std::string> names;
    auto add = [&](const std::string& name) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    };
    for (const auto& name : asked) {
        if (name == "all") {
            add("belady");
            for (const auto& policy : online_policies()) add(policy.name);
        } else {
            if (name != "belady") (void)make_policy(name, {1, 1, 1});  // it has to exist
            add(name);
        }
    }
    return names;
}

TraceResult simulate(const RouteTrace& trace, const std::vector<std::string>& policies,
                     const CacheSimOptions& o, const DiskModel& disk) {
    TraceResult result;
    result.source = trace.source;
    result.header = trace.header;
    result.demand = demand(trace);
    for (const auto& token : trace.tokens) ++(token.prompt ? result.prompt_tokens : result.answer_tokens);
    if (result.answer_tokens == 0) fail("{}: a prompt only, nothing was answered", trace.source);
    for (const auto& budget : o.budgets) {
        BudgetResult b;
        b.budget = budget;
        b.slots = ExpertBudget(budget, "--budget").slots(trace.header);
        b.floor = floor_of(b.slots, result.demand);
        auto run = [&](const std::string& policy) {
            PolicyResult p{policy, replay(trace, b.slots, policy, o.policy, disk), {}, 0};
            p.summary = summarize(p.replay);
            return p;
        };
        const PolicyResult lru = run("lru"), belady = run("belady");
        for (const auto& policy : policies) {
            auto p = policy == "lru" ? lru : policy == "belady" ? belady : run(policy);
            p.gap_closed = gap_closed(p.summary.hit_rate, lru.summary.hit_rate, belady.summary.hit_rate);
            result.has_topics = p.summary.topic_hit_rate.has_value();
            b.policies.push_back(std::move(p));
        }
        result.budgets.push_back(std::move(b));
    }
    return result;
}

// V4-Flash's shape, and two conversations about different things, each with a prompt and an answer.
RouteTrace flash_like() {
    SyntheticTraceOptions options;
    options.layers = 43;
    options.experts = 256;
    options.top_k = 6;
    options.expert_bytes = 13'369'344;
    options.tokens = 512;
    options.topics = 2;
    options.prompt = 500;
    return synthetic_trace(options);
}

void cache_sim(const CacheSimOptions& o) {
    CommandFiles{.inputs = o.traces, .outputs = {o.plot}}.check();
    const auto policies = chosen_policies(o.policies);
    DiskModel disk;
    disk.bytes_per_second = parse_bytes(o.disk_bandwidth, "--disk-bandwidth");
    disk.latency = o.disk_latency / 1e3;
    disk.layer_compute = o.layer_compute / 1e3;
    std::vector<RouteTrace> traces;
    for (const auto& path : o.traces) {
        traces.push_back(read_route_trace(path));
        if (traces.back().cut) say("{}: ends in the middle of a record, which is left out", path);
    }
    if (o.synthetic) traces.push_back(flash_like());
    if (traces.empty()) fail("no trace: name files, or try --synthetic");
    if (o.join) traces = {joined(traces)};
    std::vector<TraceResult> results;
    for (auto& trace : traces) {
        if (o.prompt_pass > 0) regroup_prompts(trace, o.prompt_pass);
        results.push_back(simulate(trace, policies, o, disk));
    }
    if (!o.plot.empty()) write_svg(o.plot, plot_svg(results));
    if (o.json)
        print_line(report_json(results, disk).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    else
        print_lines(report_text(results));
}

std::string footer() {
    std::string text =
        "Policies:\n  belady       evicts what is needed last: the bound, it knows the future\n";
    for (const auto& p : online_policies()) text += fmt::format("  {:<12} {}\n", p.name, p.description);
    return text +
           "\nTraces are files in the format that docs/expert-cache.md explains with the policies;\n"
           "run, chat, serve, bench, logits and perplexity write them with --route-trace. CSV files of the\n"
           "project BigMoeOnEdge are read too. A missing expert costs its size; those of one layer are read\n"
           "together, after one latency.\n\n"
           "  cachalot cache-sim qwen.route.csv --budget 10%,8GB --policy lru,forecast --plot hits.svg";
}

}  // namespace

void add_cache_sim(CLI::App& app) {
    auto o = std::make_shared<CacheSimOptions>();
    auto* command = app.add_subcommand("cache-sim", "Replays recorded routes against cache policies");
    command->add_option("traces", o->traces, "route traces")->type_name("TRACE...");
    command->add_flag("--synthetic", o->synthetic,
                      "also a made-up trace in the shape of V4-Flash, of two conversations");
    command
        ->add_option("-b,--budget", o->budgets,
                     "memory for experts: a share of all of them or a size (10%,8GB,24GiB)")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str()
        ->type_name("SIZE,..");
    command->add_option("-p,--policy", o->policies, "policies, see below")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str()
        ->type_name("all|NAME,..");
    command->add_flag("--join", o->join,
                      "replay the traces one after the other, to see what a change of topic does");
    command
        ->add_option("--prompt-pass", o->prompt_pass,
                     "tokens of a prompt that are evaluated together; 0: as recorded, in a CSV one by one")
        ->check(CLI::Range(0, 1 << 20))
        ->type_name("N");
    command->add_option("--disk-bandwidth", o->disk_bandwidth, "bytes a second that the disk delivers")
        ->capture_default_str()
        ->type_name("SIZE");
    command->add_option("--disk-latency", o->disk_latency, "until the first byte arrives")
        ->check(CLI::Range(0.0, 1e4))
        ->capture_default_str()
        ->type_name("MS");
    command
        ->add_option("--layer-compute", o->layer_compute,
                     "a layer's other work, which hides that much of its reads")
        ->check(CLI::Range(0.0, 1e4))
        ->capture_default_str()
        ->type_name("MS");
    command->add_option("--lfu-log-factor", o->policy.redis.log_factor, "of the policy redis")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str()
        ->type_name("X");
    command
        ->add_option("--lfu-decay-time", o->policy.redis.decay_tokens,
                     "of the policy redis, in tokens instead of minutes; 0: never")
        ->check(CLI::Range(0, 1 << 30))
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--plot", o->plot, "write the hit rates as a picture")->type_name("FILE.svg");
    command->add_flag("--json", o->json, "everything as JSON");
    command->footer(footer());
    command->callback([o] { cache_sim(*o); });
}

}  // namespace cachalot::cli
