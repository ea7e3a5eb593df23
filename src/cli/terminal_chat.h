// A conversation on the terminal, or of lines that are piped in: what `chat` does, and `run` without a
// prompt.
#pragma once

#include <string>

#include "cli/chat_options.h"

namespace cachalot::cli {

struct TerminalChatOptions {
    ModelOptions model;
    AnswerOptions answer;
    std::string load;              // a saved conversation to go on from; empty: none
    std::string history = "auto";  // FILE, "off", or "auto": one in the user's state folder
};

// Returns when the user leaves or the input ends. Throws Error if it cannot begin.
void terminal_chat(const TerminalChatOptions& options);

}  // namespace cachalot::cli
