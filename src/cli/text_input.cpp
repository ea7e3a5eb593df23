#include "cli/text_input.h"

#include <algorithm>

#include "base/error.h"
#include "cli/command.h"

namespace cachalot::cli {

void TextInput::add_to(CLI::App& command) {
    auto* given = command.add_option("-p,--text", text, "the text; else -f, else stdin")->type_name("TEXT");
    auto* read = command.add_option("-f,--file", file, "read the text from a file")
                     ->excludes(given)
                     ->type_name("FILE");
    command.add_option("--tokens-file", tokens_file, "or token ids from a file")
        ->excludes(given)
        ->excludes(read)
        ->type_name("FILE");
}

std::vector<std::int32_t> TextInput::ids(const Tokenizer& tokenizer) const {
    auto ids = tokens_file.empty() ? tokenizer.encode(input_text(text, file), SpecialTokens::literal)
                                   : read_ids(tokens_file);
    if (ids.size() < 2) fail("the text has {} tokens; at least 2 are needed", ids.size());
    for (auto id : ids)
        if (id < 0 || id >= tokenizer.size())
            fail("token {} is out of range (the vocabulary has {})", id, tokenizer.size());
    return ids;
}

std::string TextInput::name() const {
    if (!tokens_file.empty()) return tokens_file;
    return !text.empty() ? "text" : file.empty() ? "stdin" : file;
}

void describe_windows(CLI::App& command, std::int64_t usual) {
    command.get_option("--ctx")->description(fmt::format(
        "tokens of a window, as 4096 or 4k; 0: {}, or what the model was trained for if that is less",
        usual));
}

std::size_t window_size(std::int64_t context, std::int64_t longest, std::int64_t usual) {
    const auto size = context ? context : std::min(usual, longest);
    if (size < 2) fail("--ctx: a window of {} predicts nothing", size);
    return static_cast<std::size_t>(size);
}

}  // namespace cachalot::cli
