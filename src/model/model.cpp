#include "model/model.h"

#include "base/error.h"
#include "model/engram_classes.h"
#include "model/part_tensors.h"

namespace cachalot {

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path, const ModelFiles& beside) {
    auto checkpoint = Checkpoint::open(path, beside.engram);
    check_more_than_drafter(*checkpoint);
    Config config = checkpoint->config();
    Tokenizer tokenizer = checkpoint->tokenizer();
    // A smaller vocabulary would leave logits without text; a larger one, tokens without embedding.
    if (tokenizer.size() != config.vocab_size)
        fail("{}: the tokenizer has {} tokens, the model {}", checkpoint->source(), tokenizer.size(),
             config.vocab_size);
    config.bos = tokenizer.bos();
    config.eos = tokenizer.eos();
    EngramHash hash;
    if (config.engram.present()) {
        auto classes = engram_classes(tokenizer);
        checkpoint->check_engram(classes);
        hash = EngramHash(config.engram, std::move(classes), checkpoint->source());
    }
    Weights weights = bind_weights(*checkpoint);
    auto draft = beside.drafter.empty() ? load_draft_model(*checkpoint, weights)
                                        : load_draft_model(beside.drafter, *checkpoint, weights);
    return std::make_shared<const Model>(Model{std::move(checkpoint), std::move(config), std::move(weights),
                                               std::move(tokenizer), std::move(hash), std::move(draft)});
}

}  // namespace cachalot
