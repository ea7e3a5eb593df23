// cachalot bench: how fast prompts are read and answers written, at chosen depths of context.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/cpu_features.h"
#include "base/error.h"
#include "cli/bench_drafts.h"
#include "cli/command.h"
#include "cli/expert_cache_report.h"
#include "measure/machine_limits.h"
#include "model/cost.h"

namespace cachalot::cli {
namespace {

struct BenchOptions {
    ModelOptions model;
    std::vector<std::int64_t> prefill = {512}, decode = {32}, depths = {0};
    std::vector<int> parallel = {1};
    int repetitions = 3;
    bool json = false;
    DraftBench drafts;
};

struct Repetition {
    double tokens_per_second;
    double reading;  // decode: bytes a second at which memory was read before and after it
};

struct Row {
    std::string test;
    std::int64_t tokens, depth;
    int parallel;  // sequences that are written at the same time
    std::vector<Repetition> repetitions;
    std::uint64_t peak_rss_bytes;                 // of the process so far
    std::optional<CacheTraffic> experts, engram;  // of caches, if there are, warming up left out
    double share_of_limit = 0;  // mean; decode: of the reading; prefill: of the arithmetic peak

    template <class Value>
    double mean(const Value& value) const {
        double sum = 0;
        for (const Repetition& r : repetitions) sum += value(r);
        return sum / static_cast<double>(repetitions.size());
    }
    double tokens_per_second() const { return mean(std::mem_fn(&Repetition::tokens_per_second)); }
    double reading() const { return mean(std::mem_fn(&Repetition::reading)); }
    double spread() const {  // standard deviation
        const double middle = tokens_per_second();
        return std::sqrt(
            mean([&](const Repetition& r) { return std::pow(r.tokens_per_second - middle, 2); }));
    }
};

std::uint64_t peak_rss_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    return static_cast<std::uint64_t>(usage.ru_maxrss);
#else
    return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
#endif
}

// Tokens that are as varied as text: what matters is that they spread over the experts. Each run has others,
// or a cache of experts would know what comes.
std::vector<std::int32_t> varied_tokens(std::int64_t count, int vocab, int run = 0) {
    std::vector<std::int32_t> tokens;
    std::uint32_t x = 12345u + 7919u * static_cast<std::uint32_t>(run);
    for (std::int64_t i = 0; i < count; ++i) {
        x = x * 1664525u + 1013904223u;
        tokens.push_back(static_cast<std::int32_t>((x >> 8) % static_cast<std::uint32_t>(vocab)));
    }
    return tokens;
}

template <class Stats>
std::optional<CacheTraffic> traffic_of(const std::optional<Stats>& stats, bool decode) {
    if (!stats) return {};
    return decode ? stats->decode : stats->prompt;
}

// Tokens for each of `parallel` sequences, one of each in every pass.
void decode_together(Engine& engine, std::vector<KvState>& states, std::span<const std::int32_t> tokens) {
    for (std::size_t done = 0; done < tokens.size(); done += states.size()) {
        Batch batch;
        for (std::size_t i = 0; i < states.size(); ++i)
            batch.add(states[i], tokens.subspan(done + i, 1), RowsKind::decode);
        engine.step(batch);
    }
}

// The speed of memory is measured before and after each repetition of decode: on machines that are shared it
// may double or halve from one minute to the next.
Row measure(Engine& engine, const ReadingTarget& memory, const KvCheckpoint& start, const std::string& test,
            std::int64_t count, int parallel, int repetitions) {
    bool decode = test == "decode";
    std::vector<Repetition> all;
    auto read = [&] {  // the mean, since what it is compared with is one, too
        constexpr int kTimes = 8;
        double seconds = 0;  // for a byte
        for (int i = 0; decode && i < kTimes; ++i)
            seconds += 1 / measure_reading(engine.primitives(), engine.options().isa, memory) / kTimes;
        return decode ? 1 / seconds : 0;
    };
    auto expert_traffic = [&] { return traffic_of(engine.expert_stats(), decode); };
    auto engram_traffic = [&] { return traffic_of(engine.engram_stats(), decode); };
    std::optional<CacheTraffic> experts, engram;
    for (int i = -1; i < repetitions; ++i) {  // the first run warms up
        if (i == 0) {
            experts = expert_traffic();
            engram = engram_traffic();
        }
        std::vector<KvState> states(static_cast<std::size_t>(parallel), engine.new_state());
        for (auto& state : states) state.restore(start);
        const auto tokens = varied_tokens(count * parallel, engine.model().config.vocab_size, i + 1);
        const double before = read();
        auto begin = std::chrono::steady_clock::now();
        if (decode)
            decode_together(engine, states, tokens);
        else
            engine.prefill(states.front(), tokens);
        double rate = static_cast<double>(tokens.size()) /
                      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        if (i < 0) continue;
        all.push_back({rate, (before + read()) / 2});
    }
    if (experts) experts = difference(*experts, *expert_traffic());
    if (engram) engram = difference(*engram, *engram_traffic());
    return {test,    count, start.length, parallel, all, peak_rss_bytes() - ReadingTarget::kBytes,
            experts, engram};
}

// At each depth, which is filled once, all that was asked for.
std::vector<Row> measure_all(Engine& engine, const ReadingTarget& memory, const BenchOptions& o) {
    std::int64_t most = 0;
    for (auto n : o.prefill) most = std::max(most, n);
    for (auto n : o.decode) most = std::max(most, n);
    auto depths = o.depths;
    std::sort(depths.begin(), depths.end());
    std::vector<Row> rows;
    auto state = engine.new_state();
    for (auto depth : depths) {
        if (depth < 0 || depth + most > engine.context())
            fail("depth {} and {} tokens do not fit in the context of {}", depth, most, engine.context());
        Progress progress(fmt::format("filling to {}", depth), "tokens");
        auto fill = varied_tokens(depth - state.length(), engine.model().config.vocab_size);
        engine.prefill(state, fill, [&](std::int64_t done) {
            progress.update(static_cast<std::uint64_t>(done), fill.size());
            return true;
        });
        progress.clear();
        auto start = state.checkpoint();
        for (auto n : o.prefill)
            if (n > 0) rows.push_back(measure(engine, memory, start, "prefill", n, 1, o.repetitions));
        for (auto n : o.decode)
            for (int parallel : o.parallel)
                if (n > 0)
                    rows.push_back(measure(engine, memory, start, "decode", n, parallel, o.repetitions));
    }
    return rows;
}

nlohmann::ordered_json row_json(const Row& r, int threads) {
    nlohmann::ordered_json row = {{"test", r.test},
                                  {"tokens", r.tokens},
                                  {"depth", r.depth},
                                  {"parallel", r.parallel},
                                  {"threads", threads},
                                  {"tokens_per_second", r.tokens_per_second()},
                                  {"share_of_limit", r.share_of_limit},
                                  {"peak_rss_bytes", r.peak_rss_bytes},
                                  {"repetitions", r.repetitions.size()},
                                  {"spread", r.spread()}};
    if (r.test == "decode") row["read_bytes_per_second"] = r.reading();
    for (const Repetition& one : r.repetitions) {
        row["each"].push_back({{"tokens_per_second", one.tokens_per_second}});
        if (r.test == "decode") row["each"].back()["read_bytes_per_second"] = one.reading;
    }
    if (r.experts) row["expert_cache"] = traffic_json(*r.experts);
    if (r.engram) row["engram_cache"] = traffic_json(*r.engram);
    return row;
}

void print_json(const Engine& engine, const MachineLimits& limits, const TokenCost& cost,
                const std::vector<Row>& rows) {
    nlohmann::ordered_json result = {{"machine",
                                      {{"processor", cpu_features().name},
                                       {"backend", engine.primitives().name()},
                                       {"read_bytes_per_second", limits.read_bytes_per_second},
                                       {"float_ops_per_second", limits.float_ops_per_second},
                                       {"int8_ops_per_second", limits.int8_ops_per_second}}},
                                     {"bytes_per_token", cost.bytes},
                                     {"operations_per_token", cost.operations},
                                     {"model", engine.model().checkpoint->source()}};
    for (const auto& r : rows) result["rows"].push_back(row_json(r, engine.primitives().threads()));
    print_line(result.dump(2));
}

void print_table(const Engine& engine, const MachineLimits& limits, const TokenCost& cost,
                 const std::vector<Row>& rows) {
    print_line(fmt::format("{}, {}", cpu_features().name, engine.primitives().name()));
    print_line(fmt::format("limits    memory {}/s, float32 {:.0f} Gop/s, int8 {:.0f} Gop/s",
                           human_bytes(static_cast<std::uint64_t>(limits.read_bytes_per_second)),
                           limits.float_ops_per_second / 1e9, limits.int8_ops_per_second / 1e9));
    // What the limit is counted in: bytes of weights for decode, operations for prefill.
    const std::string bytes = human_bytes(static_cast<std::uint64_t>(cost.bytes)),
                      operations = fmt::format("{:.1f} Mop", static_cast<double>(cost.operations) / 1e6);
    auto share = [](const Row& r) -> std::string {
        if (r.parallel > 1 || r.share_of_limit == 0) return "-";
        const auto percent = fmt::format("{:.1f} %", 100 * r.share_of_limit);
        if (r.test != "decode") return percent;
        return fmt::format("{} of {}/s", percent, human_bytes(static_cast<std::uint64_t>(r.reading())));
    };
    print_line(fmt::format("{:<8} {:>7} {:>8} {:>8} {:>20}   {:>12} {:>22} {:>12}", "test", "tokens", "depth",
                           "parallel", "tokens/s", "per token", "of the limit", "peak memory"));
    for (const auto& r : rows)
        print_line(fmt::format("{:<8} {:>7} {:>8} {:>8} {:>12.1f} +- {:<5.1f}  {:>12} {:>22} {:>12}", r.test,
                               r.tokens, r.depth, r.parallel, r.tokens_per_second(), r.spread(),
                               r.test == "decode" ? bytes : operations, share(r),
                               human_bytes(r.peak_rss_bytes)));
    for (const auto& r : rows)
        for (const auto& [name, traffic] : {std::pair("experts", r.experts), std::pair("engram", r.engram)})
            if (traffic)
                print_line(fmt::format("{:<8} {:>7} {:>8}  {}: {}", r.test, r.tokens, r.depth, name,
                                       traffic_text(*traffic)));
}

void bench(const BenchOptions& o) {
    if (o.drafts.asked() != (o.model.draft != "off"))
        wrong_usage(
            "with --draft MODE texts are answered, with and without drafts: -f or --messages names them");
    if (o.drafts.asked()) {
        DraftBench drafts = o.drafts;
        drafts.tokens = o.decode;
        drafts.repetitions = o.repetitions;
        drafts.json = o.json;
        bench_drafts(o.model, drafts);
        return o.model.write_profile();
    }
    Engine engine = o.model.engine();
    const ReadingTarget memory;  // from the beginning, so that it is known to be in the peak
    auto rows = measure_all(engine, memory, o);
    o.model.write_profile();
    const auto limits = measure_limits(engine.primitives(), engine.options().isa, memory);
    const auto cost = token_cost(engine.model().config, engine.model().weights);
    // In the default precision most products are of integers; in exact mode all are of floats.
    const double peak = o.model.exact ? limits.float_ops_per_second : limits.int8_ops_per_second;
    // Of several sequences together the bytes of a pass are not known: they share what experts they choose in
    // common.
    // Nor are the operations of a prompt that leaves layers out.
    const bool leaves_out = engine.options().decoder_prefill > 0;
    for (auto& r : rows)
        if (r.parallel == 1 && (r.test == "decode" || !leaves_out))
            r.share_of_limit = r.mean([&](const Repetition& one) {
                return r.test == "decode"
                           ? one.tokens_per_second * static_cast<double>(cost.bytes) / one.reading
                           : one.tokens_per_second * static_cast<double>(cost.operations) / peak;
            });
    o.json ? print_json(engine, limits, cost, rows) : print_table(engine, limits, cost, rows);
}

}  // namespace

void add_bench(CLI::App& app) {
    auto o = std::make_shared<BenchOptions>();
    auto* command = app.add_subcommand("bench", "Speed of prefill and decode");
    o->model.add_to(*command);
    o->model.add_decoder_prefill_to(*command, "exact");
    o->model.add_profile_to(*command);
    command->add_flag("--trace", o->model.trace_table,
                      "print where the time goes and how often threads wait for each other, to stderr");
    command->add_option("-p,--prefill", o->prefill, "tokens of a prompt")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->delimiter(',')
        ->capture_default_str()
        ->type_name("TOKENS,..");
    command->add_option("-n,--decode", o->decode, "tokens of an answer")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->delimiter(',')
        ->capture_default_str()
        ->type_name("TOKENS,..");
    command->add_option("-d,--depth", o->depths, "tokens that are in the context before")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->delimiter(',')
        ->capture_default_str()
        ->type_name("TOKENS,..");
    command
        ->add_option("--parallel", o->parallel,
                     "sequences that are written at the same time; the speed is of all of them together")
        ->check(CLI::Range(1, 256))
        ->delimiter(',')
        ->capture_default_str()
        ->type_name("N,..");
    command->add_option("-r,--repetitions", o->repetitions, "measurements of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str()
        ->type_name("N");
    command->add_flag("--json", o->json, "print the result as JSON");
    o->model.add_draft_to(*command, "off");
    o->drafts.add_to(*command);
    for (const char* text : {"--file", "--messages"})
        for (const char* of_others : {"--prefill", "--depth", "--parallel"})
            command->get_option(text)->excludes(command->get_option(of_others));
    command->callback([o] { bench(*o); });
}

}  // namespace cachalot::cli
