// What the subcommands share: choosing and opening a model, options of the engine.
//
// A command reports failure by throwing Error; main turns it into one line and exit status 1. CLI11 handles
// usage errors (status 2).
#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/outputs.h"
#include "engine/open_engine.h"

namespace cachalot::cli {

// -m/--model and what else decides how a model is run.
struct ModelOptions : OpenEngineOptions {
    std::string numa_mode = "auto";  // "auto", "off" or "spread"
    std::string kv_name = "fp8";     // or "f32"
    bool exact = false;
    std::string profile;       // file to write a profile to; empty: none is written
    bool trace_table = false;  // a table of the profile is printed without one
    std::shared_ptr<Trace> profiled = std::make_shared<Trace>();
    LogOptions log_options;  // of commands that offer them; the command opens `log`
    bool notes_in_log =
        false;  // what is to be known about how the model is run goes there instead of being said

    void add_to(CLI::App& app, bool engine = true);  // engine: false if only the file is looked at

    void add_kv_to(CLI::App& app);
    // For commands that read prompts in order to write.
    void add_decoder_prefill_to(CLI::App& app, const std::string& otherwise = "auto");

    // For commands that write.
    void add_draft_to(CLI::App& app, const std::string& otherwise = "auto");
    // Parts of it: --draft and --draft-model, or the latter alone.
    void add_draft_mode_to(CLI::App& app, const std::string& otherwise = "auto");
    void add_draft_model_to(CLI::App& app);

    KvPrecision kv_precision() const;

    std::string resolved_path() const { return find_model(path); }
    bool is_shipped() const { return finds_nano(path); }
    // files(): the files that these options read and write. check(): throws Error, together with the
    // command's other files, if an output cannot be written or is also an input.
    CommandFiles files() const;
    void check(const CommandFiles& others = {}) const;
    // After that check.
    std::shared_ptr<const Model> load(const CommandFiles& others = {}) const;
    Engine engine(std::shared_ptr<const Model> model, ActivationObserver* watcher = nullptr) const;
    Engine engine(const CommandFiles& others = {}) const { return engine(load(others)); }
    // These options for open_engine(), whose notes are said.
    OpenEngineOptions to_open() const;

    // For commands that offer --profile: the option, and what to do when the work is done (nothing without
    // it). The profile goes to the file, a table of it to stderr.
    void add_profile_to(CLI::App& app);
    void write_profile() const;
};

// Says on stderr what was chosen when something was opened.
void say_note(const std::string& note);

// The text of -p, else of -f (a path, "-" for stdin), else of stdin. Throws Error if there is none.
std::string input_text(const std::string& text, const std::string& file);

// A file of messages or tools. Throws Error naming it, and what it is if it is no JSON.
nlohmann::ordered_json read_json(const std::string& file);

// Token ids separated by commas or white space. Throws Error naming the file and the offset.
std::vector<std::int32_t> read_ids(const std::string& file);

// Wrong usage of the command that runs: status 2, and where help is.
[[noreturn]] void wrong_usage(const std::string& message);

// Registration, one function per file cmd_*.cpp. The options live as long as the app.
void add_bench(CLI::App& app);
void add_cache(CLI::App& app);
void add_cache_sim(CLI::App& app);
void add_chat(CLI::App& app);
void add_compare(CLI::App& app);
void add_convert(CLI::App& app);
void add_eval(CLI::App& app);
void add_imatrix(CLI::App& app);
void add_inspect(CLI::App& app);
void add_launch(CLI::App& app);
void add_logits(CLI::App& app);
void add_perplexity(CLI::App& app);
void add_plan(CLI::App& app);
void add_run(CLI::App& app);
void add_score_official(CLI::App& app);
void add_serve(CLI::App& app);
void add_synth(CLI::App& app);
void add_tokenize(CLI::App& app);

}  // namespace cachalot::cli
