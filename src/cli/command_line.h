// The command line before CLI11 reads it.
//
// CLI11 gives an option without a value the next argument, whatever that is: `--api-key= --port 80` would
// make a key of "--port". Lists go on to the next option, and a misspelt option is an unexpected argument
// among others. So each argument gets its role here: command, option, value, or word. Values are checked
// (option_value.h), and CLI11 sees an order of them that can be read in one way only:
//
//     COMMAND... (--option VALUE | --flag)... -- WORD...
//
// Names that people know from other programs, and underscores for dashes, are understood (--ctx-size,
// --top_p).
#pragma once

#include <CLI/CLI.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace cachalot::cli {

struct CommandLine {
    std::vector<std::string> arguments;  // for CLI11, in the order that they have
    std::string command;                 // "run", "cache ls", or empty
};

// Wrong usage: what is wrong with which command; without one, with that which runs.
struct UsageError : std::runtime_error {
    UsageError(const std::string& message, std::string of) : runtime_error(message), command(std::move(of)) {}
    std::string command;
};

// `arguments` without the program's name. Options of lists take one value at a time from now on. Throws
// UsageError.
CommandLine read_command_line(CLI::App& app, const std::vector<std::string>& arguments);

// Two lines: what is wrong, and where help is.
std::string usage_text(std::string message, const std::string& command);

}  // namespace cachalot::cli
