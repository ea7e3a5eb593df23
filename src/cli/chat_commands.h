// What can be typed in a chat besides questions.
#pragma once

#include <string>
#include <vector>

namespace cachalot::cli {

enum class ChatVerb { say, help, system, think, temperature, clear, retry, undo, save, load, stats, leave };

struct ChatLine {
    ChatVerb verb = ChatVerb::say;
    std::string argument;  // of a command, or the whole text
};

// A text is a command if its first word is one. Another word of letters after a slash is a misspelt one,
// which is an Error, unless it is a path that exists or the text has several lines; everything else is a
// question, such as "/usr/bin/env is what?". Throws Error also for a command that gets an argument and takes
// none, or the other way round.
ChatLine read_chat_line(const std::string& text);

std::string chat_help();

// What Tab makes of the text before the cursor: everything that may stand from `begin` on instead.
struct Completions {
    std::size_t begin = 0;
    std::vector<std::string> candidates;
};
Completions chat_completions(const std::string& before_cursor);

// The path with ~ at its beginning replaced by the home folder.
std::string expand_home(const std::string& path);

}  // namespace cachalot::cli
