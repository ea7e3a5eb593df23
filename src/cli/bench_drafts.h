// `bench --draft MODE`: how much faster the same answers are written with drafts than without.
#pragma once

#include "cli/command.h"

namespace cachalot::cli {

struct DraftBench {
    std::vector<std::string> files, messages;  // what is answered
    bool raw = false;                          // files are continued as they are
    std::vector<std::int64_t> tokens;          // most tokens of an answer, each in turn
    int repetitions = 3;
    bool json = false;

    bool asked() const { return !files.empty() || !messages.empty(); }
    void add_to(CLI::App& command);  // the options that only this has: not tokens, repetitions and json
};

// Prints a table or JSON. `model`.draft is how to draft. Throws Error for a text that cannot be read.
void bench_drafts(const ModelOptions& model, const DraftBench& bench);

}  // namespace cachalot::cli
