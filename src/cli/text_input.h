// The text that a measurement reads: -p, -f, standard input, or token ids.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "engine/engine.h"

namespace cachalot::cli {

struct TextInput {
    std::string text, file, tokens_file;

    void add_to(CLI::App& command);

    // At least two, and all in the vocabulary. Throws Error. Control tokens in the text are text.
    std::vector<std::int32_t> ids(const Tokenizer& tokenizer) const;
    std::string name() const;  // of the file, for people
};

// Tokens that are evaluated together from an empty context: --ctx, or 2048, but no more than the model was
// trained for.
std::size_t window_size(std::int64_t context, const Engine& engine);

}  // namespace cachalot::cli
