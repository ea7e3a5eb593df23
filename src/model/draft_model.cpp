#include "model/draft_model.h"

#include <string_view>
#include <utility>

#include "base/error.h"
#include "file/in_quotes.h"
#include "model/part_tensors.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRemedy =
    "give the drafter that was trained for this model with --draft-model, or leave it out";

// Compares a drafter with the model beside which it lies.
class Fit {
  public:
    Fit(const Checkpoint& drafter, const Checkpoint& model) : drafter_(drafter), model_(model) {}

    void check() const {
        const Config &d = drafter_.config(), &m = model_.config();
        if (!has_drafter(drafter_)) fail_without_drafter();
        if (d.architecture != m.architecture)
            fail("{}: is a drafter for {}, and {} is {}; {}", drafter_.source(),
                 architecture_name(d.architecture), model_.source(), architecture_name(m.architecture),
                 kRemedy);
        same("vocab_size", d.vocab_size, m.vocab_size);
        same("hidden_size", d.hidden_size, m.hidden_size);
        same("head_dim", d.head_dim, m.head_dim);
        same("qk_rope_head_dim", d.rope_dim, m.rope_dim);
        same("sliding_window", d.sliding_window, m.sliding_window);
        for (const int layer : d.dspark.target_layers)
            if (layer >= m.layers)
                fail("{}: dspark_target_layer_ids names layer {}, and {} has {} layers; {}",
                     drafter_.source(), layer, model_.source(), m.layers, kRemedy);
        if (drafter_.has_tokenizer()) same_tokens();
    }

  private:
    void same(std::string_view key, int drafter, int model) const {
        if (drafter != model)
            fail("{}: {} is {}, and in {} it is {}; {}", drafter_.source(), key, drafter, model_.source(),
                 model, kRemedy);
    }

    // Rows of the embedding without a token have different names in files of different programs.
    void same_tokens() const {
        const Tokenizer a = drafter_.tokenizer(), b = model_.tokenizer();
        if (a.size() != b.size())
            fail("{}: has {} tokens, and {} has {}; {}", drafter_.source(), a.size(), model_.source(),
                 b.size(), kRemedy);
        const auto used = [](const TokenizerData& data, std::size_t id) {
            return data.types[id] != static_cast<int>(TokenType::unused);
        };
        for (std::size_t id = 0; id < a.data().tokens.size(); ++id)
            if (a.data().tokens[id] != b.data().tokens[id] && used(a.data(), id) && used(b.data(), id))
                fail("{}: token {} is {}, and in {} it is {}; {}", drafter_.source(), id,
                     in_quotes(a.data().tokens[id]), model_.source(), in_quotes(b.data().tokens[id]),
                     kRemedy);
    }

    [[noreturn]] void fail_without_drafter() const {
        if (drafter_.config().drafter() == DrafterKind::none)
            fail(
                "{}: has no drafter: its configuration has neither the keys of DSpark (dspark_*) nor a block "
                "for multi-token prediction (num_nextn_predict_layers 1); {}",
                drafter_.source(), kRemedy);
        fail("{}: has no drafter: there is no tensor {}, although the configuration speaks of one; {}",
             drafter_.source(), drafter_tensors(drafter_.config()).front().gguf, kRemedy);
    }

    const Checkpoint &drafter_, &model_;
};

}  // namespace

std::span<const MappedFile> DraftModel::files() const {
    return beside ? beside->files() : std::span<const MappedFile>();
}

std::shared_ptr<const DraftModel> load_draft_model(const Checkpoint& checkpoint, const Weights& model) {
    if (!has_drafter(checkpoint)) return nullptr;
    Weights bound;
    bind_drafter(checkpoint, bound);
    auto draft = std::make_shared<DraftModel>();
    draft->kind = checkpoint.config().drafter();
    draft->dspark = checkpoint.config().dspark;
    draft->targets = draft->dspark.target_layers;
    if (!checkpoint.config().is_v41())
        for (int& layer : draft->targets) ++layer;
    draft->config = drafter_stages(checkpoint.config());
    draft->parts = std::move(bound.drafter);
    draft->weights.embedding = model.embedding;
    draft->weights.layers = std::exchange(draft->parts.stages, {});
    draft->weights.head_mix = draft->parts.head_mix;
    draft->weights.norm = draft->parts.norm;
    draft->weights.head = model.head;
    return draft;
}

std::shared_ptr<const Checkpoint> open_drafter(const fs::path& path, const Checkpoint& model) {
    std::shared_ptr<const Checkpoint> drafter;
    try {
        drafter = Checkpoint::open(path);
    } catch (const Error& error) {
        fail("{}; --draft-model takes a folder or GGUF file with the drafter of a release", error.what());
    }
    Fit(*drafter, model).check();
    return drafter;
}

std::shared_ptr<const DraftModel> load_draft_model(const fs::path& path, const Checkpoint& model,
                                                   const Weights& weights) {
    const auto beside = open_drafter(path, model);
    try {
        auto draft = std::make_shared<DraftModel>(*load_draft_model(*beside, weights));
        draft->beside = beside;
        return draft;
    } catch (const Error& error) {
        fail("{}; {}", error.what(), kRemedy);
    }
}

}  // namespace cachalot
