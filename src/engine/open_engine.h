// Opening an engine: what its options leave open is chosen here, by what the model and the machine are.
//
// Nothing is printed. What was chosen, and what it has to do without, is told as notes for people; whoever
// has a person to talk to passes them on.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "engine/drafting.h"
#include "engine/engine.h"
#include "model/checkpoint.h"
#include "sampling/sampler.h"
#include "text/chat_format.h"

namespace cachalot {

// Takes a sentence, without a full stop or a line break at its end. May be called by any thread, one at a
// time.
using NoteSink = std::function<void(const std::string& note)>;

// Options have the meaning, and in messages the names, that they have on the command line.
struct OpenEngineOptions {
    std::string path;  // GGUF file or release directory; see find_model()
    int threads = 0;   // 0: one per available core
    CpuOptions::Numa numa = CpuOptions::Numa::automatic;
    Precision precision = Precision::fast;
    KvPrecision kv = KvPrecision::reference;
    std::int64_t context = 0;               // tokens; 0: what the model was trained for
    std::string decoder_prefill = "exact";  // "140" tokens, or "auto": see decoder_prefill_tokens()
    int chunk = 0;                          // tokens; 0: as is best with and without a cache of experts
    std::string expert_cache = "auto";  // "8GB", "25%"; "off": map all; "auto": off if all fit, else a cache
    // FILE, "off", or "auto": one in the user's cache folder. What is learnt of drafts lies beside it.
    std::string expert_heat = "off";
    std::vector<std::string> expert_packs;  // the one beside the model, if there is one, comes last
    // For a model with Engram tables. "8GB", "1%": a cache of rows; "off": no row is kept; "all": the tables
    // stay in memory; "auto": as much of it as is left.
    std::string engram_cache = "auto";
    std::filesystem::path engram;   // where its tables are; empty: in the model
    std::string draft = "off";      // of kDraftModes; with "auto" the model's drafter is used if it has one
    int draft_max = kLongestDraft;  // most tokens of a draft
    std::string draft_model;        // where the drafter is, see find_model(); empty: in the model
    std::int64_t states = 0;        // bytes of attention states to plan for, but at least one conversation
    std::string route_trace;        // file to write the choices of the routers to; empty: none is written
    ActivationObserver* observer = nullptr;  // these two must outlive the engine
    Trace* trace = nullptr;
    NoteSink note;  // may be empty
    Log log;        // for the engine, and who works with it
};

// EngineOptions::decoder_prefill for "exact", a number of tokens, or "auto": of models that have layers which
// only read what others keep, a window and a few tokens more, unless precision is asked for. Throws Error for
// another text.
int decoder_prefill_tokens(const OpenEngineOptions& options, const Config& config);
// The same without a model.
void check_decoder_prefill(const std::string& text);

// The file for what is learnt of drafts, beside this file.
std::string calibration_path(const std::string& heat);

// EngineOptions::drafter. Throws Error if a kind of drafter is asked for that the model has not.
bool uses_drafter(const OpenEngineOptions& options, const Model& model);

// The path that was given, else $CACHALOT_MODEL, else nano. "nano", "nano41" and "nano-dspark", a drafter for
// nano, are files that are installed with the program, unless there is a file or folder of that name. Throws
// Error if nothing was given and there is no nano.
std::string find_model(const std::string& given);
// Whether that is nano because nobody has named a model.
bool finds_nano(const std::string& given);

// Temperature and top_p as the files recommend them, else 1 (V4.1: a top_p of 0.95); the rest as is usual.
SamplingOptions recommended_sampling(const Checkpoint::SamplingDefaults& recommended, ChatFormat format);
SamplingOptions recommended_sampling(const Model& model);

// The model that find_model() finds for the path, with the Engram tables that are named. Throws Error.
std::shared_ptr<const Model> load_model(const OpenEngineOptions& options);

// Throws Error if the model cannot be opened, or an option is out of range, does not suit the others or names
// a file that is of another model.
Engine open_engine(const OpenEngineOptions& options);
// The same with a model that is open already: that of options.path.
Engine open_engine(std::shared_ptr<const Model> model, const OpenEngineOptions& options);

}  // namespace cachalot
