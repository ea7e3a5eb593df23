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

// Of a text in windows, unless --ctx says otherwise; tokens.
inline constexpr std::int64_t kUsualWindow = 2048;

// Lets the help of --ctx speak of windows.
void describe_windows(CLI::App& command, std::int64_t usual = kUsualWindow);

// Tokens that are evaluated together from an empty context: --ctx (`context`), or without it `usual`, but no
// more than `longest`, for which the model was trained. Throws Error if it would predict nothing.
std::size_t window_size(std::int64_t context, std::int64_t longest, std::int64_t usual = kUsualWindow);

}  // namespace cachalot::cli
