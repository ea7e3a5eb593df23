#include "cli/chat_commands.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "cli/suggestion.h"

namespace cachalot::cli {
namespace {

namespace fs = std::filesystem;

enum class Argument { none, optional, file };

struct Command {
    ChatVerb verb;
    const char* name;
    Argument argument;
    const char *usage, *help;  // no help: another name of the one before
};

constexpr Command kCommands[] = {
    {ChatVerb::help, "/help", Argument::none, "/help, /?", "this list"},
    {ChatVerb::help, "/?", Argument::none, "", ""},
    {ChatVerb::clear, "/clear", Argument::none, "/clear, /new",
     "start a new conversation; the system text stays"},
    {ChatVerb::clear, "/new", Argument::none, "", ""},
    {ChatVerb::undo, "/undo", Argument::none, "/undo", "take back the last question and its answer"},
    {ChatVerb::retry, "/retry", Argument::none, "/retry", "answer the last question again"},
    {ChatVerb::system, "/system", Argument::optional, "/system [TEXT]",
     "set the system text and start a new conversation; without TEXT: show it"},
    {ChatVerb::think, "/think", Argument::optional, "/think [MODE]",
     "reason before answering: off, on, high or max"},
    {ChatVerb::temperature, "/temp", Argument::optional, "/temp [X]",
     "the temperature; 0: always the most probable token"},
    {ChatVerb::save, "/save", Argument::file, "/save FILE", "write the conversation as JSON"},
    {ChatVerb::load, "/load", Argument::file, "/load FILE", "continue a saved conversation"},
    {ChatVerb::stats, "/stats", Argument::none, "/stats", "tokens, speed and memory"},
    {ChatVerb::leave, "/bye", Argument::none, "/bye, /quit", "leave (also Ctrl-D)"},
    {ChatVerb::leave, "/quit", Argument::none, "", ""},
    {ChatVerb::leave, "/exit", Argument::none, "", ""},
};

const Command* find(const std::string& name) {
    const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                     [&](const Command& c) { return name == c.name; });
    return found == std::end(kCommands) ? nullptr : found;
}

std::string trimmed(const std::string& text) {
    const auto begin = text.find_first_not_of(" \t");
    if (begin == std::string::npos) return "";
    return text.substr(begin, text.find_last_not_of(" \t\n") + 1 - begin);
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

ChatLine read_chat_line(const std::string& text) {
    if (!text.starts_with('/')) return {ChatVerb::say, text};
    const std::string name = text.substr(0, text.find_first_of(" \t\n"));
    const Command* command = find(name);
    if (!command) {
        std::error_code ignored;
        const bool word = name.size() > 1 && std::all_of(name.begin() + 1, name.end(), is_letter);
        if (!word || text.find('\n') != std::string::npos || fs::exists(name, ignored))
            return {ChatVerb::say, text};
        std::vector<std::string> known;
        for (const auto& c : kCommands) known.emplace_back(c.name);
        const auto meant = suggestion(name, known);
        fail("{} is no command{}; /help lists them. A question that begins so needs a space in front", name,
             meant.empty() ? "" : " (did you mean " + meant + "?)");
    }
    const std::string argument = trimmed(text.substr(name.size()));
    if (command->argument == Argument::none && !argument.empty())
        fail("{} takes nothing after it. A question that begins so needs a space in front", name);
    if (command->argument == Argument::file && argument.empty()) fail("{}: give a file name", name);
    return {command->verb, command->argument == Argument::file ? expand_home(argument) : argument};
}

std::string chat_help() {
    std::string text;
    for (const auto& c : kCommands)
        if (*c.help) text += fmt::format("{:<17}{}\n", c.usage, c.help);
    return text +
           "Ctrl-C stops an answer, and drops what is being typed. A line that ends in \\ goes on in the\n"
           "next one; \"\"\" begins and ends a text of several lines. Tab completes commands and\n"
           "file names.\n";
}

Completions chat_completions(const std::string& before) {
    Completions result;
    if (!before.starts_with('/') || before.find('\n') != std::string::npos) return result;
    const auto space = before.find(' ');
    if (space == std::string::npos) {
        for (const auto& c : kCommands)
            if (std::string(c.name).starts_with(before))
                result.candidates.push_back(std::string(c.name) + (c.argument == Argument::none ? "" : " "));
        return result;
    }
    const Command* command = find(before.substr(0, space));
    if (!command || command->argument != Argument::file) return result;
    result.begin = std::min(before.find_first_not_of(' ', space), before.size());
    const std::string typed = before.substr(result.begin);
    const auto slash = typed.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : typed.substr(0, slash + 1);
    const std::string start = typed.substr(folder.size());
    std::error_code error;
    for (fs::directory_iterator it(folder.empty() ? "." : expand_home(folder), error), end;
         !error && it != end; it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (!name.starts_with(start) || (start.empty() && name.starts_with('.'))) continue;
        std::error_code ignored;
        result.candidates.push_back(folder + name + (it->is_directory(ignored) ? "/" : ""));
    }
    std::sort(result.candidates.begin(), result.candidates.end());
    return result;
}

std::string expand_home(const std::string& path) {
    const char* home = std::getenv("HOME");
    if (!home || (path != "~" && !path.starts_with("~/"))) return path;
    return home + path.substr(1);
}

}  // namespace cachalot::cli
