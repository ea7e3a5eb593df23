#include "model/model.h"

#include "base/error.h"
#include "model/engram_classes.h"

namespace cachalot {

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path) {
    auto checkpoint = Checkpoint::open(path);
    Config config = checkpoint->config();
    Tokenizer tokenizer = checkpoint->tokenizer();
    // A smaller vocabulary would leave logits without text; a larger one, tokens without embedding.
    if (tokenizer.size() != config.vocab_size)
        fail("{}: the tokenizer has {} tokens, the model {}", checkpoint->source(), tokenizer.size(),
             config.vocab_size);
    config.bos = tokenizer.bos();
    config.eos = tokenizer.eos();
    Weights weights = bind_weights(*checkpoint);
    EngramHash hash;
    if (config.engram.present()) hash = EngramHash(config.engram, engram_classes(tokenizer));
    return std::make_shared<const Model>(Model{std::move(checkpoint), std::move(config), std::move(weights),
                                               std::move(tokenizer), std::move(hash)});
}

}  // namespace cachalot
