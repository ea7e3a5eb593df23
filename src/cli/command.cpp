#include "cli/command.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/option_value.h"
#include "experts/engram_budget.h"
#include "file/json.h"
#include "file/text_file.h"
#include "text/chat_json.h"

namespace cachalot::cli {

void ModelOptions::add_to(CLI::App& app, bool engine) {
    app.add_option("-m,--model", path, "GGUF file (of a split model the first part) or release directory")
        ->type_name("PATH");
    if (!engine) return;
    app.add_option("-t,--threads", threads, "threads; 0: one per core")
        ->check(CLI::Range(0, 1024))
        ->type_name("N");
    app.add_option("--numa", numa_mode,
                   "on machines with several memory nodes: spread threads and weights over them, or off; "
                   "auto: spread if there are several")
        ->check(one_of({"auto", "off", "spread"}))
        ->capture_default_str();
    app.add_option("-c,--ctx", context,
                   "most tokens of a conversation, as 4096 or 4k; 0: what the model was trained for")
        ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30))
        ->type_name("TOKENS");
    app.add_option("--chunk", chunk,
                   "tokens of a prompt that are evaluated together; 0: 512, or with a cache of experts, "
                   "which are read once for all of them, up to 4096 as memory allows")
        ->check(CLI::Range(0, 65536))
        ->capture_default_str()
        ->type_name("N");
    app.add_flag("--exact", exact,
                 "keep activations in float32 (slower; default: int8 with 4- and 8-bit weights)");
    add_kv_to(app);
    app.add_option("--expert-cache", expert_cache,
                   "memory for routed experts; other experts are read from disk when they are needed. "
                   "A size or a share of all experts (8GB, 25%); off: map the whole model; "
                   "auto: off if the model fits, else what there is room for (see plan)")
        ->check(checked_by([](const std::string& text) {
            if (text != "off" && text != "auto") ExpertBudget(text, "the value");
        }))
        ->capture_default_str()
        ->type_name("SIZE");
    app.add_option("--expert-pack", expert_packs,
                   "read experts from this file, made by convert --pack; "
                   "several, on different disks, share the work and stand in for each other. "
                   "Default: the one beside the model, if there is one")
        ->allow_extra_args(false)
        ->type_name("FILE");
    app.add_option("--expert-heat", expert_heat,
                   "where to remember which experts are used: "
                   "the next start reads those into its cache while the disk is idle. "
                   "What is learnt of drafts is kept beside it. "
                   "A file, off, or auto: one for each model in the user's cache folder")
        ->capture_default_str()
        ->type_name("FILE");
    app.add_option("--engram-cache", engram_cache,
                   "memory for rows of the Engram tables of V4.1; other rows are read from disk as soon as "
                   "tokens are known. A size or a share of all rows (2GB, 1%); off: none are kept; "
                   "all: the tables stay in memory; auto: all if they fit beside everything else, "
                   "else one percent as far as there is room")
        ->check(checked_by([](const std::string& text) {
            if (text != "auto") engram_budget(text, 0, "the value");
        }))
        ->capture_default_str()
        ->type_name("SIZE");
    app.add_option("--engram", engram,
                   "the GGUF file that has the Engram tables, perhaps on a disk of their own. "
                   "Default: the model itself")
        ->type_name("PATH");
    app.add_option("--route-trace", route_trace,
                   "write which experts were chosen, for cache-sim. Contains the tokens of the texts")
        ->type_name("FILE");
}

void ModelOptions::add_kv_to(CLI::App& app) {
    app.add_option("--kv", kv_name,
                   "attention states: fp8 (rounded as DeepSeek's own code does) or f32 (not rounded)")
        ->check(one_of({"fp8", "f32"}))
        ->capture_default_str();
}

void ModelOptions::add_decoder_prefill_to(CLI::App& app, const std::string& otherwise) {
    decoder_prefill = otherwise;
    app.add_option(
           "--decoder-prefill", decoder_prefill,
           "V4.1: of a prompt only the last N tokens go through the second half of the layers, which "
           "saves half of the work. exact: all tokens do; auto: 140, but exact with --exact or --kv f32")
        ->check(checked_by(check_decoder_prefill))
        ->capture_default_str()
        ->type_name("N|exact|auto");
}

void ModelOptions::add_draft_to(CLI::App& app, const std::string& otherwise) {
    add_draft_mode_to(app, otherwise);
    app.add_option("--draft-max", draft_max, "most tokens of a draft")
        ->check(CLI::Range(1, kLongestDraft))
        ->capture_default_str();
}

void ModelOptions::add_draft_mode_to(CLI::App& app, const std::string& otherwise) {
    draft = otherwise;
    app.add_option("--draft", draft,
                   "verify several drafted tokens in one pass. "
                   "dspark, mtp: drafts of the model's drafter of that kind; "
                   "lookup: what followed the last time that the text had the same last tokens; "
                   "auto: the drafter if there is one, else lookup, where it is faster; off: never. "
                   "The answer is the same")
        ->check(one_of({std::begin(kDraftModes), std::end(kDraftModes)}))
        ->capture_default_str();
    add_draft_model_to(app);
}

void ModelOptions::add_draft_model_to(CLI::App& app) {
    app.add_option("--draft-model", draft_model,
                   "a folder or GGUF file with the drafter; nano-dspark is one for nano. "
                   "Default: the one inside the model, if there is one")
        ->type_name("PATH");
}

KvPrecision ModelOptions::kv_precision() const {
    return kv_name == "f32" ? KvPrecision::f32 : KvPrecision::reference;
}

void ModelOptions::add_profile_to(CLI::App& app) {
    app.add_option("--profile", profile,
                   "write where the time goes, in Chrome's trace format; a table goes to stderr")
        ->type_name("FILE");
}

void ModelOptions::write_profile() const {
    if (!profile.empty()) save_text_or_keep(profile, profiled->chrome_json());
    if (trace_table || !profile.empty()) say_line(profiled->summary());
}

CommandFiles ModelOptions::files() const {
    CommandFiles files{{resolved_path()}, expert_packs, {profile, route_trace, log_options.file}};
    files.inputs.push_back(default_pack_path(resolved_path()).string());
    if (!engram.empty()) files.inputs.push_back(engram.string());
    if (!draft_model.empty()) files.inputs.push_back(find_model(draft_model));
    if (expert_heat != "off" && expert_heat != "auto") {
        files.outputs.push_back(expert_heat);
        files.outputs.push_back(calibration_path(expert_heat));
    }
    return files;
}

void ModelOptions::check(const CommandFiles& others) const {
    if (!draft_model.empty() && (draft == "off" || draft == "lookup"))
        wrong_usage("--draft-model names a drafter, and --draft is " + draft);
    if (expert_cache == "off" && !expert_packs.empty())
        wrong_usage("--expert-pack is read by a cache of experts, and --expert-cache is off");
    CommandFiles all = files();
    all.add(others);
    all.check();
}

std::shared_ptr<const Model> ModelOptions::load(const CommandFiles& others) const {
    check(others);
    return load_model(*this);
}

Engine ModelOptions::engine(std::shared_ptr<const Model> model, ActivationObserver* watcher) const {
    OpenEngineOptions options = to_open();
    options.observer = watcher;
    return open_engine(std::move(model), options);
}

OpenEngineOptions ModelOptions::to_open() const {
    OpenEngineOptions options = *this;
    options.numa = numa_mode == "off"      ? CpuOptions::Numa::off
                   : numa_mode == "spread" ? CpuOptions::Numa::spread
                                           : CpuOptions::Numa::automatic;
    options.precision = exact ? Precision::exact : Precision::fast;
    options.kv = kv_precision();
    if (trace_table || !profile.empty()) options.trace = profiled.get();
    options.note = say_note;
    if (notes_in_log) options.note = [to = log](const std::string& text) { to.warn(text); };
    return options;
}

void say_note(const std::string& note) { say("cachalot: {}", note); }

void wrong_usage(const std::string& message) { throw UsageError(message, ""); }

std::string input_text(const std::string& text, const std::string& file) {
    if (!text.empty()) return text;
    if (!file.empty() && file != "-") return read_text_input(file);
    if (file.empty() && isatty(STDIN_FILENO))
        fail("no input: give a text with -p, a file with -f, or pipe it in");
    return read_text_input("/dev/stdin");
}

nlohmann::ordered_json read_json(const std::string& file) {
    const std::string text = read_text_input(file);
    try {
        return parse_json(text, file);
    } catch (const Error&) {
        check_json(text, file);  // whose message helps more
        throw;
    }
}

std::vector<std::int32_t> read_ids(const std::string& file) {
    std::string text = read_text_input(file);
    std::vector<std::int32_t> ids;
    const char *p = text.data(), *end = p + text.size();
    auto is_separator = [](char c) { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
    while (p != end) {
        if (is_separator(*p)) {
            ++p;
            continue;
        }
        std::int32_t id;
        auto [next, error] = std::from_chars(p, end, id);
        if (error != std::errc() || (next != end && !is_separator(*next)))
            fail("{}: byte {}: not a token id", file, p - text.data());
        ids.push_back(id);
        p = next;
    }
    return ids;
}

}  // namespace cachalot::cli
