#include "cli/cache_sim_report.h"

#include "cli/command.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

const char* floor_name(Floor floor) {
    switch (floor) {
        case Floor::none: return "none";
        case Floor::tight: return "tight";
        case Floor::token: return "token";
        case Floor::layer: return "layer";
    }
    return "?";
}

std::string bytes_text(double bytes) { return human_bytes(static_cast<std::uint64_t>(bytes + 0.5)); }

std::string percent(std::optional<double> rate) {
    return rate ? fmt::format("{:>5.1f} %", 100 * *rate) : fmt::format("{:>7}", "-");
}

nlohmann::ordered_json number_or_null(std::optional<double> value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

std::uint64_t slot_bytes(const TraceResult& t, int slots) {
    return static_cast<std::uint64_t>(slots) * t.header.largest_expert();
}

std::string trace_text(const TraceResult& t) {
    std::string text = fmt::format("{}: {}\n", t.source,
                                   t.header.model.empty() ? "(unnamed)" : visible_line(t.header.model));
    text += fmt::format("  {} layers of {} experts, {}; {} prompt and {} answer tokens\n", t.header.layers,
                        t.header.experts, human_bytes(t.header.all_experts_bytes()), t.prompt_tokens,
                        t.answer_tokens);
    text += fmt::format("  an answer token needs {:.0f} experts ({:.1f} % of all), a layer up to {}\n",
                        t.demand.per_token,
                        100 * t.demand.per_token / (static_cast<double>(t.header.layers) * t.header.experts),
                        t.demand.per_layer);
    for (const auto& b : t.budgets) {
        text +=
            fmt::format("\n  {}: {} experts, {}\n", b.budget, b.slots, human_bytes(slot_bytes(t, b.slots)));
        if (b.floor != Floor::none) text += fmt::format("  {}\n", explain(b.floor));
        text += fmt::format("  {:<12} {:>7} {:>7} {:>11} {:>11} {:>10} {:>10} {:>7} {:>8}{}\n", "policy",
                            "hits", "gap", "read/token", "p95", "stall", "p95", "cold", "settled",
                            t.has_topics ? fmt::format(" {:>7}", "topic") : "");
        for (const auto& p : b.policies) {
            const auto& s = p.summary;
            text += fmt::format("  {:<12} {} {:>5.0f} % {:>11} {:>11} {:>7.1f} ms {:>7.1f} ms {} {:>8}{}\n",
                                p.policy, percent(s.hit_rate), 100 * p.gap_closed, bytes_text(s.bytes_mean),
                                bytes_text(s.bytes_p95), 1e3 * s.stall_mean, 1e3 * s.stall_p95,
                                percent(s.cold_hit_rate), percent(s.settled_hit_rate),
                                t.has_topics ? " " + percent(s.topic_hit_rate) : "");
        }
    }
    return text + "\n";
}

// Means over the traces of one policy and budget.
struct Mean {
    double hit_rate = 0, gap_closed = 0;
};

Mean mean(const std::vector<TraceResult>& traces, std::size_t budget, std::size_t policy) {
    Mean m;
    for (const auto& t : traces) {
        const auto& p = t.budgets[budget].policies[policy];
        m.hit_rate += p.summary.hit_rate / static_cast<double>(traces.size());
        m.gap_closed += p.gap_closed / static_cast<double>(traces.size());
    }
    return m;
}

std::string means_text(const std::vector<TraceResult>& traces) {
    const auto& first = traces.front();
    std::string text = fmt::format("mean of the {} traces: hits, and the share of the gap closed\n  {:<12}",
                                   traces.size(), "policy");
    for (const auto& b : first.budgets) text += fmt::format(" {:>17}", b.budget);
    text += "\n";
    for (std::size_t p = 0; p < first.budgets.front().policies.size(); ++p) {
        text += fmt::format("  {:<12}", first.budgets.front().policies[p].policy);
        for (std::size_t b = 0; b < first.budgets.size(); ++b) {
            const Mean m = mean(traces, b, p);
            text += fmt::format(" {:>7.1f} % {:>5.0f} %", 100 * m.hit_rate, 100 * m.gap_closed);
        }
        text += "\n";
    }
    return text + "\n";
}

nlohmann::ordered_json policy_json(const PolicyResult& p) {
    const auto& s = p.summary;
    nlohmann::ordered_json j = {{"policy", p.policy},
                                {"hit_rate", s.hit_rate},
                                {"gap_closed", p.gap_closed},
                                {"lookups", p.replay.decode.lookups},
                                {"hits", p.replay.decode.hits},
                                {"misses", p.replay.decode.misses},
                                {"evictions", p.replay.evictions},
                                {"unplaced", p.replay.unplaced},
                                {"bytes_per_token", {{"mean", s.bytes_mean}, {"p95", s.bytes_p95}}},
                                {"stall_seconds_per_token", {{"mean", s.stall_mean}, {"p95", s.stall_p95}}},
                                {"cold_hit_rate", number_or_null(s.cold_hit_rate)},
                                {"settled_hit_rate", number_or_null(s.settled_hit_rate)},
                                {"topic_hit_rate", number_or_null(s.topic_hit_rate)}};
    j["prompt"] = {{"lookups", p.replay.prompt.lookups},
                   {"hits", p.replay.prompt.hits},
                   {"misses", p.replay.prompt.misses},
                   {"bytes", p.replay.prompt_bytes}};
    return j;
}

}  // namespace

std::string explain(Floor floor) {
    switch (floor) {
        case Floor::none: break;
        case Floor::tight: return "little more than one token needs: expect few hits, whatever the policy";
        case Floor::token:
            return "below the floor of one token: LRU finds nothing, "
                   "other policies keep a part of the layers";
        case Floor::layer:
            return "below the floor of one layer: its experts push each other out, no policy can help";
    }
    return "";
}

std::string report_text(const std::vector<TraceResult>& traces) {
    std::string text;
    for (const auto& t : traces) text += trace_text(t);
    if (traces.size() > 1) text += means_text(traces);
    return text +
           "hits: share of the experts of answers that were in memory. gap: how far from LRU (0) to "
           "Belady's\n"
           "policy (100 %), which knows the future. cold: first 16 answer tokens; settled: the rest" +
           (std::any_of(traces.begin(), traces.end(), [](const auto& t) { return t.has_topics; })
                ? ";\ntopic: first 16 of later conversations.\n"
                : ".\n");
}

nlohmann::ordered_json report_json(const std::vector<TraceResult>& traces, const DiskModel& disk) {
    nlohmann::ordered_json result = {{"disk",
                                      {{"bytes_per_second", disk.bytes_per_second},
                                       {"latency_seconds", disk.latency},
                                       {"layer_compute_seconds", disk.layer_compute}}},
                                     {"traces", nlohmann::ordered_json::array()}};
    for (const auto& t : traces) {
        nlohmann::ordered_json trace = {{"source", t.source},
                                        {"model", t.header.model},
                                        {"layers", t.header.layers},
                                        {"experts", t.header.experts},
                                        {"experts_per_token", t.header.top_k},
                                        {"expert_bytes", t.header.all_experts_bytes()},
                                        {"prompt_tokens", t.prompt_tokens},
                                        {"answer_tokens", t.answer_tokens},
                                        {"needed_by_token", t.demand.per_token},
                                        {"needed_by_layer", t.demand.per_layer},
                                        {"budgets", nlohmann::ordered_json::array()}};
        for (const auto& b : t.budgets) {
            nlohmann::ordered_json budget = {{"budget", b.budget},
                                             {"slots", b.slots},
                                             {"bytes", slot_bytes(t, b.slots)},
                                             {"floor", floor_name(b.floor)},
                                             {"policies", nlohmann::ordered_json::array()}};
            for (const auto& p : b.policies) budget["policies"].push_back(policy_json(p));
            trace["budgets"].push_back(std::move(budget));
        }
        result["traces"].push_back(std::move(trace));
    }
    if (traces.size() > 1) {
        const auto& first = traces.front();
        for (std::size_t b = 0; b < first.budgets.size(); ++b)
            for (std::size_t p = 0; p < first.budgets[b].policies.size(); ++p) {
                const Mean m = mean(traces, b, p);
                result["mean"].push_back({{"budget", first.budgets[b].budget},
                                          {"policy", first.budgets[b].policies[p].policy},
                                          {"hit_rate", m.hit_rate},
                                          {"gap_closed", m.gap_closed}});
            }
    }
    return result;
}

}  // namespace cachalot::cli
