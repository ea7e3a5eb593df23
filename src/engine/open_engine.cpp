#include "engine/open_engine.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>

#include "base/available_cores.h"
#include "base/error.h"
#include "base/human_bytes.h"
#include "base/memory_limit.h"
#include "engine/memory_plan.h"
#include "experts/cache_floor.h"
#include "experts/engram_budget.h"
#include "file/output_target.h"
#include "file/user_folders.h"
#include "model/cost.h"
#include "model/fingerprint.h"

namespace cachalot {
namespace {

template <class... Arguments>
void note(const OpenEngineOptions& o, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (o.note) o.note(fmt::format(format, std::forward<Arguments>(arguments)...));
}

MemoryPlan plan_for(const OpenEngineOptions& o, const Model& model) {
    const auto longest = model.config.context_length;  // the engine refuses more
    const auto context = o.context > 0 ? std::min(o.context, longest) : longest;
    const bool drafts = uses_drafter(o, model);
    const auto one = states_bytes(model.config, o.kv, context, drafts ? model.draft.get() : nullptr);
    PlanRequest request{memory_limit().available, std::max(o.states, one), o.chunk};
    request.drafter = drafts;
    const WeightBytes weights = weight_bytes(model.config, model.weights);
    if (o.expert_cache == "off") {
        request.expert_cache = weights.routed_experts;
    } else if (o.expert_cache != "auto") {
        const RouteHeader header = ExpertRecords(model).header();
        const int slots = ExpertBudget(o.expert_cache, "--expert-cache").slots(header);
        request.expert_cache = static_cast<std::uint64_t>(slots) * header.largest_expert();
    }
    if (o.engram_cache != "auto")
        request.engram_cache =
            engram_budget(o.engram_cache, weights.engram, "--engram-cache").value_or(weights.engram);
    return plan_memory(model, request);
}

// Tells what `auto` chose, if that is a cache.
std::optional<ExpertBudget> expert_budget(const OpenEngineOptions& o, const MemoryPlan& plan) {
    if (plan.resident()) return std::nullopt;
    note(o, "the routed experts, {}, do not fit into memory; a cache of {} is used (cachalot plan says why)",
         human_bytes(plan.routed_experts), human_bytes(plan.expert_cache));
    return ExpertBudget(fmt::format("{}", plan.expert_cache), "--expert-cache");
}

std::optional<std::uint64_t> engram_cache(const OpenEngineOptions& o, const MemoryPlan& plan) {
    if (!plan.engram_on_disk()) return std::nullopt;
    note(o, "the Engram tables, {}, do not fit into memory; rows are read from disk, with a cache of {}",
         human_bytes(plan.engram), human_bytes(plan.engram_cache));
    return plan.engram_cache;
}

// A file that was named must be right, and its folder be there; the one in the cache folder is replaced if it
// is not, and its folder made.
std::optional<HeatFile> heat_file(const OpenEngineOptions& o, const Model& model) {
    if (o.expert_heat == "off") return std::nullopt;
    if (o.expert_heat != "auto") {
        check_output(o.expert_heat);
        return open_heat_file(model, o.expert_heat);
    }
    const auto folder = default_heat_folder();
    if (folder.empty()) return std::nullopt;
    std::error_code ignored;  // writing says that it is missing
    std::filesystem::create_directories(folder, ignored);
    const auto path = folder / (hex(model_fingerprint(model)) + ".heat");
    try {
        return open_heat_file(model, path);
    } catch (const Error& e) {
        note(o, "the expert cache starts cold: {}", e.what());
        std::filesystem::remove(path, ignored);
        return open_heat_file(model, path);
    }
}

// What is learnt of a drafter lies where the heat of the experts does.
std::optional<CalibrationFile> calibration_file(const OpenEngineOptions& o, const Model& model) {
    if (o.expert_heat == "off") return std::nullopt;
    const Hash128 drafter = drafter_fingerprint(model);
    if (o.expert_heat != "auto") return CalibrationFile{calibration_path(o.expert_heat), drafter};
    const auto folder = default_heat_folder();
    if (folder.empty()) return std::nullopt;
    std::error_code ignored;  // writing says that it is missing
    std::filesystem::create_directories(folder, ignored);
    return CalibrationFile{calibration_path((folder / hex(drafter)).string()), drafter};
}

// One that was named must be right; one that only lies there is passed by if it is not.
ExpertPacks expert_packs(const OpenEngineOptions& o, const Model& model) {
    ExpertPacks packs;
    for (const auto& path : o.expert_packs) packs.push_back(std::make_shared<ExpertPack>(model, path));
    const auto beside = default_pack_path(find_model(o.path));
    if (!o.expert_packs.empty() || !std::filesystem::exists(beside)) return packs;
    try {
        packs.push_back(std::make_shared<ExpertPack>(model, beside));
    } catch (const Error& e) {
        note(o, "experts are read from the model's own files: {}", e.what());
    }
    return packs;
}

// The memory of experts and of Engram tables.
void choose_caches(const OpenEngineOptions& o, const Model& model, EngineOptions& options) {
    const bool tables = model.config.engram.present();
    if (!tables && o.engram_cache != "auto")
        fail("--engram-cache is of models with Engram tables; {} has none", model.checkpoint->source());
    if (o.expert_cache != "auto" && o.expert_cache != "off")
        options.expert_cache = ExpertBudget(o.expert_cache, "--expert-cache");
    if (tables && o.engram_cache != "auto")
        options.engram_cache =
            engram_budget(o.engram_cache, weight_bytes(model.config, model.weights).engram, "--engram-cache");
    if (o.expert_cache != "auto" && (!tables || o.engram_cache != "auto")) return;
    const MemoryPlan plan = plan_for(o, model);
    if (o.expert_cache == "auto") options.expert_cache = expert_budget(o, plan);
    if (tables && o.engram_cache == "auto") options.engram_cache = engram_cache(o, plan);
}

void choose_experts(const OpenEngineOptions& o, const Model& model, EngineOptions& options) {
    if (o.expert_cache == "off" && !o.expert_packs.empty())
        fail("--expert-pack is read by a cache of experts, and --expert-cache is off");
    const bool heat_named = o.expert_heat != "off" && o.expert_heat != "auto";
    if (o.expert_cache == "off" && heat_named)
        fail("--expert-heat is read by a cache of experts, and --expert-cache is off");
    choose_caches(o, model, options);
    options.chunk = o.chunk > 0            ? o.chunk
                    : options.expert_cache ? streaming_chunk(model.config, memory_limit().available)
                                           : kResidentChunk;
    if (options.expert_cache) {
        options.expert_heat = heat_file(o, model);
        options.expert_packs = expert_packs(o, model);
        return;
    }
    // Files that are named must be right all the same.
    constexpr const char* kUnused =
        "{} is not used, as the whole model fits into memory; "
        "--expert-cache says how much of it experts may take";
    if (heat_named) {
        (void)heat_file(o, model);
        note(o, kUnused, "--expert-heat");
    }
    if (!o.expert_packs.empty()) {
        (void)expert_packs(o, model);
        note(o, kUnused, "--expert-pack");
    }
}

// "140", or "4k" for 4096.
int whole_tokens(const std::string& text) {
    const int factor = text.ends_with('k') || text.ends_with('K') ? 1 << 10 : 1;
    const char* const end = text.data() + text.size() - (factor > 1 ? 1 : 0);
    int tokens = 0;
    const auto [stopped, error] = std::from_chars(text.data(), end, tokens);
    if (error != std::errc() || stopped != end || tokens < 1 ||
        tokens > std::numeric_limits<int>::max() / factor)
        fail("'{}' is neither auto nor exact nor a number of tokens from 1 on", text);
    return tokens * factor;
}

}  // namespace

SamplingOptions recommended_sampling(const Checkpoint::SamplingDefaults& recommended, ChatFormat format) {
    SamplingOptions sampling;
    sampling.temperature = recommended.temperature.value_or(1.0f);
    sampling.top_p = recommended.top_p.value_or(format == ChatFormat::v41 ? 0.95f : 1.0f);
    return sampling;
}

SamplingOptions recommended_sampling(const Model& model) {
    return recommended_sampling(model.checkpoint->sampling_defaults(), chat_format_of(model.tokenizer));
}

void check_decoder_prefill(const std::string& text) {
    if (text != "exact" && text != "auto") (void)whole_tokens(text);
}

int decoder_prefill_tokens(const OpenEngineOptions& o, const Config& config) {
    if (o.decoder_prefill == "exact") return 0;
    if (o.decoder_prefill != "auto") return whole_tokens(o.decoder_prefill);
    // The newest tokens of a prompt change with the next one, so a window in front of them is kept, too.
    constexpr int kMore = 12;
    const int end = config.context_layers_end();
    const bool possible = end < config.layers && o.route_trace.empty() &&
                          (!config.engram.present() || config.engram.layers.back() <= end);
    const bool precise = o.precision == Precision::exact || o.kv == KvPrecision::f32;
    return possible && !precise ? config.sliding_window + kMore : 0;
}

std::string calibration_path(const std::string& heat) { return heat + ".drafts"; }

bool uses_drafter(const OpenEngineOptions& o, const Model& model) {
    const Drafting drafting = drafting_of(o.draft);
    if (drafting == Drafting::automatic) return model.draft != nullptr;
    if (drafting != Drafting::drafter) return false;
    const DrafterKind wanted = o.draft == "mtp" ? DrafterKind::mtp : DrafterKind::dspark;
    if (!model.draft || model.draft->kind != wanted)
        fail("--draft {}: {} has no such drafter; --draft-model names one that lies elsewhere", o.draft,
             model.checkpoint->source());
    return true;
}

std::shared_ptr<const Model> load_model(const OpenEngineOptions& options) {
    const std::string& drafter = options.draft_model;
    return Model::load(find_model(options.path),
                       {.engram = options.engram, .drafter = drafter.empty() ? "" : find_model(drafter)});
}

Engine open_engine(const OpenEngineOptions& options) { return open_engine(load_model(options), options); }

Engine open_engine(std::shared_ptr<const Model> model, const OpenEngineOptions& o) {
    if (const auto unused = model->checkpoint->unused(); !unused.empty()) note(o, "{}", unused);
    EngineOptions options;
    options.threads = o.threads;
    options.numa = o.numa;
    options.precision = o.precision;
    options.kv = o.kv;
    options.context = o.context;
    options.decoder_prefill = decoder_prefill_tokens(o, model->config);
    options.drafter = uses_drafter(o, *model);
    if (options.drafter) options.draft_calibration = calibration_file(o, *model);
    options.route_trace = o.route_trace;
    options.observer = o.observer;
    options.log = o.log;
    options.trace = o.trace;
    choose_experts(o, *model, options);
    Engine engine(std::move(model), options);
    const int wanted = o.threads > 0 ? o.threads : available_cores();
    if (const int missing = wanted - engine.primitives().threads(); missing > 0)
        note(o,
             "{} of {} threads could not be created, as a limit is reached (see ulimit -u); "
             "it goes on without them",
             missing, wanted);
    if (const auto stats = engine.expert_stats())
        if (const auto text = expert_cache_warning(*stats, engine.model().config); !text.empty())
            note(o, "{}", text);
    return engine;
}

}  // namespace cachalot
