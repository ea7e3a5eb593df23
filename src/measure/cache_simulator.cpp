#include "measure/cache_simulator.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cachalot {
namespace {

// The experts that one layer of a pass needs, in ascending order, and by how many of its tokens.
struct LayerChoice {
    std::vector<std::int32_t> experts, counts;
};

// Walks through a trace pass by pass and layer by layer.
class PassReader {
  public:
    explicit PassReader(const RouteTrace& trace)
        : trace_(trace), count_(static_cast<std::size_t>(trace.header.experts), 0) {}

    bool next() {
        first_ = end_;
        if (first_ == trace_.tokens.size()) return false;
        for (++end_; end_ < trace_.tokens.size() && trace_.tokens[end_].same_pass;) ++end_;
        return true;
    }
    const RoutedToken& token() const { return trace_.tokens[first_]; }
    int tokens() const { return static_cast<int>(end_ - first_); }

    const LayerChoice& layer(int layer) {
        choice_.experts.clear();
        choice_.counts.clear();
        for (std::size_t t = first_; t < end_; ++t)
            for (const auto expert : trace_.chosen(t, layer))
                if (count_[expert]++ == 0) choice_.experts.push_back(expert);
        std::sort(choice_.experts.begin(), choice_.experts.end());
        for (const auto expert : choice_.experts)
            choice_.counts.push_back(std::exchange(count_[static_cast<std::size_t>(expert)], 0));
        return choice_;
    }

  private:
    const RouteTrace& trace_;
    std::size_t first_ = 0, end_ = 0;
    std::vector<int> count_;  // [experts], 0 outside of layer()
    LayerChoice choice_;
};

CacheShape shape_of(const RouteHeader& header, int slots) { return {header.layers, header.experts, slots}; }

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

// The smallest value that is not below 95 % of them.
double p95(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto at = (values.size() * 95 + 99) / 100 - 1;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
    return values[at];
}

}  // namespace

std::vector<ExpertKey> lookups(const RouteTrace& trace) {
    std::vector<ExpertKey> keys;
    const CacheShape shape = shape_of(trace.header, 0);
    for (PassReader pass(trace); pass.next();)
        for (int l = 0; l < shape.layers; ++l)
            for (const auto expert : pass.layer(l).experts) keys.push_back(shape.key(l, expert));
    return keys;
}

TraceDemand demand(const RouteTrace& trace) {
    TraceDemand result;
    std::size_t lookups = 0, tokens = 0;
    for (PassReader pass(trace); pass.next();) {
        if (pass.token().prompt) continue;
        tokens += static_cast<std::size_t>(pass.tokens());
        for (int l = 0; l < trace.header.layers; ++l) {
            const auto count = pass.layer(l).experts.size();
            lookups += count;
            result.per_layer = std::max(result.per_layer, static_cast<int>(count));
        }
    }
    result.per_token = ratio(static_cast<double>(lookups), static_cast<double>(tokens));
    return result;
}

Replay replay(const RouteTrace& trace, int slots, std::string_view policy, const PolicyOptions& options,
              const DiskModel& disk) {
    const CacheShape shape = shape_of(trace.header, slots);
    ExpertCache cache(
        shape, policy == "belady" ? make_belady(shape, lookups(trace)) : make_policy(policy, shape, options));
    Replay result;
    std::vector<int> slot;
    std::vector<ExpertKey> held;  // of the present layer, pinned
    const auto release_held = [&] {
        for (const ExpertKey key : held) cache.release(key);
        held.clear();
    };
    std::int64_t answered = 0, in_topic = 0;
    std::uint32_t topic = trace.tokens.empty() ? 0 : trace.tokens.front().sequence;
    bool first_topic = true;
    for (PassReader pass(trace); pass.next();) {
        const bool prompt = pass.token().prompt;
        if (pass.token().sequence != topic) {
            topic = pass.token().sequence;
            first_topic = false;
            in_topic = 0;
        }
        PassCost cost;
        cost.tokens = pass.tokens();
        cost.since_start = answered;
        cost.since_topic = in_topic;
        cost.first_topic = first_topic;
        cache.begin_pass(pass.tokens(), prompt);
        for (int l = 0; l < shape.layers; ++l) {
            const auto& choice = pass.layer(l);
            slot.resize(choice.experts.size());
            cache.select(l, choice.experts, choice.counts, slot);
            std::size_t missing = 0;
            for (std::size_t i = 0; i < slot.size(); ++i)
                if (slot[i] != ExpertCache::kNoSlot) held.push_back(shape.key(l, choice.experts[i]));
            for (std::size_t i = 0; i < slot.size(); ++i) {
                if (slot[i] != ExpertCache::kNoSlot) continue;
                ++missing;
                const ExpertKey key = shape.key(l, choice.experts[i]);
                if (held.size() >= static_cast<std::size_t>(cache.wave())) release_held();
                int placed = cache.place(key);
                if (placed == ExpertCache::kNoSlot) {
                    release_held();
                    placed = cache.place(key);
                }
                if (placed == ExpertCache::kNoSlot)
                    ++result.unplaced;
                else
                    held.push_back(key);
            }
            release_held();
            const std::uint64_t bytes = missing * trace.header.expert_bytes[static_cast<std::size_t>(l)];
            cost.lookups += static_cast<int>(slot.size());
            cost.hits += static_cast<int>(slot.size() - missing);
            cost.bytes += bytes;
            if (missing > 0)
                cost.stall +=
                    std::max(0.0, disk.latency + static_cast<double>(bytes) / disk.bytes_per_second -
                                      disk.layer_compute);
        }
        if (prompt) {
            result.prompt_bytes += cost.bytes;
        } else {
            answered += cost.tokens;
            in_topic += cost.tokens;
            result.passes.push_back(cost);
        }
    }
    result.decode = cache.decode();
    result.prompt = cache.prompt();
    result.evictions = cache.evictions();
    return result;
}

ReplaySummary summarize(const Replay& replay) {
    ReplaySummary s;
    struct Sum {
        double lookups = 0, hits = 0;
        double rate() const { return ratio(hits, lookups); }
        std::optional<double> rate_if_any() const {
            return lookups > 0 ? std::optional(rate()) : std::nullopt;
        }
    } all, cold, topic, settled;
    double tokens = 0, bytes = 0, stall = 0;
    std::vector<double> bytes_of_token, stall_of_token;
    for (const auto& pass : replay.passes) {
        const bool settling = pass.since_topic < kSettling;
        for (Sum* sum : {&all, !settling ? &settled : pass.first_topic ? &cold : &topic}) {
            sum->lookups += pass.lookups;
            sum->hits += pass.hits;
        }
        tokens += pass.tokens;
        bytes += static_cast<double>(pass.bytes);
        stall += pass.stall;
        for (int i = 0; i < pass.tokens; ++i) {
            bytes_of_token.push_back(static_cast<double>(pass.bytes) / pass.tokens);
            stall_of_token.push_back(pass.stall / pass.tokens);
        }
    }
    s.hit_rate = all.rate();
    s.cold_hit_rate = cold.rate_if_any();
    s.topic_hit_rate = topic.rate_if_any();
    s.settled_hit_rate = settled.rate_if_any();
    s.bytes_mean = ratio(bytes, tokens);
    s.stall_mean = ratio(stall, tokens);
    s.bytes_p95 = p95(std::move(bytes_of_token));
    s.stall_p95 = p95(std::move(stall_of_token));
    return s;
}

double gap_closed(double hit_rate, double lru, double belady) {
    return belady - lru > 1e-9 ? (hit_rate - lru) / (belady - lru) : 0;
}

RouteTrace joined(const std::vector<RouteTrace>& traces) {
    CACHALOT_CHECK(!traces.empty());
    RouteTrace all = traces.front();
    for (std::size_t i = 1; i < traces.size(); ++i) {
        const auto& next = traces[i];
        auto same_shape = next.header;
        same_shape.model = all.header.model;
        if (same_shape != all.header)
            fail("{} and {} are of models of different shapes and cannot be joined", all.source, next.source);
        std::uint32_t offset = 0;
        for (const auto& token : all.tokens) offset = std::max(offset, token.sequence + 1);
        for (auto token : next.tokens) {
            token.sequence += offset;
            all.tokens.push_back(token);
        }
        all.routes.insert(all.routes.end(), next.routes.begin(), next.routes.end());
        all.source += "+" + next.source;
    }
    return all;
}

}  // namespace cachalot
