// The engine: a model, the processor it runs on, and the memory of a pass.
//
// It evaluates tokens on a sequence's state and hands out logits; it knows nothing of prompts, sampling or
// text (generation.h). One thread at a time may use an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/trace.h"
#include "engine/draft_calibration.h"
#include "engine/route_recorder.h"
#include "experts/engram_store.h"
#include "experts/expert_budget.h"
#include "experts/expert_heat.h"
#include "experts/expert_records.h"
#include "experts/expert_store.h"
#include "file/change_watch.h"
#include "kernels/cpu/cpu_options.h"
#include "layers/forward.h"
#include "model/model.h"
#include "state/kv_state.h"

namespace cachalot {

struct EngineOptions {
    int threads = 0;                          // 0: one per available core
    Precision precision = Precision::fast;    // exact: activations stay float32
    KvPrecision kv = KvPrecision::reference;  // f32: no rounding of the cache
    int chunk = 512;                          // most tokens of a prompt evaluated in one pass
    std::int64_t context = 0;                 // most tokens of a sequence; 0: what the model was trained for
    std::optional<std::string> isa;           // see CpuOptions
    CpuOptions::Numa numa = CpuOptions::Numa::automatic;
    Trace* trace = nullptr;                    // records every pass; must outlive the engine
    std::optional<ExpertBudget> expert_cache;  // memory for routed experts; none: all are mapped
    std::optional<HeatFile> expert_heat;       // with a cache: what to warm it with, and to save counts in
    ExpertPacks expert_packs;                  // with a cache: to read experts from, before the model's files
    // With Engram tables: bytes for rows of them that are kept, while the others are read from disk; none:
    // the tables are mapped.
    std::optional<std::uint64_t> engram_cache;
    std::string route_trace;                 // file to write the choices of the routers to; empty: none
    std::optional<LayerRange> layers;        // a part of the model; none: all
    std::shared_ptr<Device> device;          // whose memory states and activations are in; null: the host's
    ActivationObserver* observer = nullptr;  // sees the inputs of every product; must outlive the engine
    // Of the tokens of a prompt the last so many go through all layers, the others only through those that
    // they leave rows in (Config::context_layers_end()). 0: all go through all layers.
    int decoder_prefill = 0;
    // What the drafter's confidences are worth is kept there, by whoever drafts; none: nowhere.
    std::optional<CalibrationFile> draft_calibration = {};
    bool drafter = false;  // states remember what the model's drafter needs, if it has one; see draft()
    Log log = {};          // of what goes wrong in the engine and what is made with it
};

// Where weights come from that are not read for every token.
struct EngineStores {
    std::unique_ptr<ExpertStore> experts;
    std::unique_ptr<EngramStore> engram;              // null if the model has no Engram tables
    std::unique_ptr<ExpertStore> draft_experts = {};  // null without a drafter
};

class Engine {
  public:
    // Throws Error for options that are out of range or of another kind of model, a cache that there is no
    // memory for, or a trace that cannot be written.
    Engine(std::shared_ptr<const Model> model, const EngineOptions& options = {});
    // With experts from elsewhere than options.expert_cache says.
    Engine(std::shared_ptr<const Model> model, const EngineOptions& options,
           std::unique_ptr<ExpertStore> experts);
    Engine(std::shared_ptr<const Model> model, const EngineOptions& options, EngineStores stores);

    const Model& model() const { return *model_; }
    Primitives& primitives() { return *primitives_; }
    const Primitives& primitives() const { return *primitives_; }
    Backend& backend() { return *backend_; }
    const EngineOptions& options() const { return options_; }
    std::int64_t context() const { return options_.context; }

    // Where the states of this engine lie.
    const std::shared_ptr<KvPool>& kv_pool() const { return kv_pool_; }
    KvState new_state() const { return KvState(kv_pool_); }

    // Of all states that this engine has made, their forks and their checkpoints.
    const MemoryCount& kv_memory() const { return *kv_pool_->memory(); }

    // What happened to one of the model's files since it was loaded, so that this engine can compute nothing
    // more; empty: nothing. May be called by any thread.
    std::string problem() const;

    // Runs one pass over the batch; see layers/forward.h. Throws Error, before anything is computed, if a
    // token is out of range, a sequence would grow beyond the context or there is a problem(); in the middle
    // of the pass, if an expert or an Engram row cannot be read (then states may be lost, see
    // KvState::intact); and after it, if there is a problem() now: what was computed is worth nothing then.
    // What it returns is valid until the next pass.
    PassOutput step(const Batch& batch);

    // A pass of one sequence; returns the logits [wanted rows, vocab].
    std::span<float> step(KvState& state, std::span<const std::int32_t> tokens, RowsKind kind,
                          Batch::Logits wanted = Batch::Logits::last);

    // The drafter that takes part; null: none does.
    const DraftModel* drafter() const { return draft_backend_ ? model_->draft.get() : nullptr; }

    // A pass of the drafter over rows of kind `draft`. Logits of a row are of the token behind it. The states
    // remain as they are. Throws Error as step() does.
    //   DSpark: of each sequence the newest token, which its state lacks, and noise tokens, as many as the
    //           drafter's block has in all. The logits are those without the Markov bias.
    //   MTP:    of each sequence one row (Batch::add_draft): the newest token, and in the passes that follow
    //           those that were drafted, one after the other.
    PassOutput draft(const Batch& batch);

    // These tokens may be evaluated in the next pass or the one after it: what they need for certain is read
    // from disk meanwhile, as far as nobody waits for something else. Tokens out of range are left out.
    void expect(std::vector<std::int32_t> tokens);

    // Of so many tokens that `state` is going to read before something is written or kept, how many, the
    // first ones, are rows of context; none if they would not be worth a pass.
    std::size_t context_rows(const KvState& state, std::size_t left) const;

    // Evaluates any number of tokens in passes of at most `chunk`, and returns the logits [vocab] of the
    // last. Calls progress(tokens done) after each pass; if it returns false the rest is left out and the
    // result is empty.
    using Progress = std::function<bool(std::int64_t done)>;
    std::span<float> prefill(KvState& state, std::span<const std::int32_t> tokens,
                             const Progress& progress = {});

    // Of the cache of experts, if there is one. May be called by any thread.
    std::optional<ExpertCacheStats> expert_stats() const { return stores_.experts->stats(); }

    // Of rows of Engram tables, if they are read from disk. May be called by any thread.
    std::optional<EngramStats> engram_stats() const {
        return stores_.engram ? stores_.engram->stats() : std::nullopt;
    }

    void observe_layers(LayerObserver observer) { backend_->observe(std::move(observer)); }

  private:
    void check_files() const;

    std::shared_ptr<const Model> model_;
    std::unique_ptr<ChangeWatch> watch_, draft_watch_;  // of its files; of a drafter beside them, or null
    EngineOptions options_;
    LayerRange range_;
    std::unique_ptr<Primitives> primitives_;
    EngineStores stores_;
    std::shared_ptr<KvPool> kv_pool_;
    std::unique_ptr<Backend> backend_, draft_backend_;
    std::unique_ptr<RouteRecorder> recorder_;  // null unless routes are traced
};

}  // namespace cachalot
