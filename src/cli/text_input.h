// The text that a measurement reads: -p, -f, standard input, or token ids.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace cachalot::cli {

struct TextInput {
    std::string text, file, tokens_file;

    void add_to(CLI::App& command);

    // At least two, and all in the vocabulary. Throws Error. Control tokens in the text are text.
    std::vector<std::int32_t> ids(const Tokenizer& tokenizer) const;
    std::string name() const;  // of the file, for people
};

// Tokens that are evaluated together from an empty context: --ctx (`context`), or without it `usual`, but no
// more than `longest`, for which the model was trained. Throws Error if it would predict nothing.
std::size_t window_size(std::int64_t context, std::int64_t longest, std::int64_t usual = 2048);

}  // namespace cachalot::cli
