#include "cli/command_line.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/error.h"
#include "cli/option_value.h"
#include "cli/suggestion.h"
#include "model/checkpoint_files.h"

namespace cachalot::cli {
namespace {

// What other programs call it, and what it is called here.
constexpr std::array<std::pair<const char*, const char*>, 26> kOtherNames = {{
    {"--temperature", "--temp"},
    {"--ctx-size", "--ctx"},
    {"--context", "--ctx"},
    {"--context-size", "--ctx"},
    {"--context-length", "--ctx"},
    {"--num-ctx", "--ctx"},
    {"--n-ctx", "--ctx"},
    {"--max-model-len", "--ctx"},
    {"--n-predict", "--max-tokens"},
    {"--predict", "--max-tokens"},
    {"--num-predict", "--max-tokens"},
    {"--max-new-tokens", "--max-tokens"},
    {"--max-completion-tokens", "--max-tokens"},
    {"--max-output-tokens", "--max-tokens"},
    {"--repeat-penalty", "--repetition-penalty"},
    {"--logit-bias", "--bias"},
    {"--system-prompt", "--system"},
    {"--stop-sequence", "--stop"},
    {"--stop-sequences", "--stop"},
    {"--thinking", "--think"},
    {"--num-threads", "--threads"},
    {"--n-threads", "--threads"},
    {"--n-parallel", "--parallel"},
    {"--num-parallel", "--parallel"},
    {"--listen", "--host"},
    {"--served-model-name", "--alias"},
}};

constexpr int kMostWords = 1 << 20;

std::vector<CLI::App*> children(CLI::App& app, bool named) {
    return app.get_subcommands([named](CLI::App* child) { return child->get_name().empty() != named; });
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

std::vector<std::string> option_names(CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* option : app.get_options())
        for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (auto* group : children(app, false)) {
        const auto more = option_names(*group);
        names.insert(names.end(), more.begin(), more.end());
    }
    return names;
}

// Under any of its names; null if there is none.
CLI::Option* find_option(CLI::App& app, std::string name) {
    if (auto* exact = app.get_option_no_throw(name)) return exact;
    if (!name.starts_with("--")) return nullptr;
    std::replace(name.begin(), name.end(), '_', '-');
    if (auto* dashed = app.get_option_no_throw(name)) return dashed;
    for (const auto& [other, ours] : kOtherNames)
        if (name == other) return app.get_option_no_throw(ours);
    return nullptr;
}

std::string spelling(const CLI::Option& option) {
    return option.get_lnames().empty() ? "-" + option.get_snames().front()
                                       : "--" + option.get_lnames().front();
}

// Lists would otherwise go on to the next option.
void take_one_value(CLI::App& app) {
    for (auto* option : app.get_options())
        if (option->nonpositional() && !is_flag(*option)) option->allow_extra_args(false);
    for (auto* child : app.get_subcommands([](CLI::App*) { return true; })) take_one_value(*child);
}

class Reader {
  public:
    Reader(CLI::App& app, const std::vector<std::string>& arguments)
        : root_(app), at_(&app), arguments_(arguments) {}

    CommandLine read() {
        bool only_words = false;
        while (next_ < arguments_.size()) {
            const std::string& argument = arguments_[next_++];
            if (only_words)
                word(argument);
            else if (argument == "--")
                only_words = true;
            else if (argument.starts_with("--"))
                long_option(argument);
            else if (argument.size() > 1 && argument[0] == '-')
                short_options(argument);
            else if (!children(*at_, true).empty())
                command(argument);
            else
                word(argument);
        }
        if (out_.arguments.empty() && words_.empty()) wrong(missing_command());
        check_places();
        if (!words_.empty()) out_.arguments.push_back("--");
        out_.arguments.insert(out_.arguments.end(), words_.begin(), words_.end());
        return out_;
    }

  private:
    [[noreturn]] void wrong(const std::string& message) const { throw UsageError(message, out_.command); }

    std::string here() const { return out_.command.empty() ? "cachalot" : out_.command; }

    std::string missing_command() const {
        std::vector<std::string> names;
        for (const auto* child : children(*at_, true)) names.push_back(child->get_name());
        return fmt::format("give a command: {}", fmt::join(names, ", "));
    }

    void command(const std::string& name) {
        std::vector<std::string> known;
        for (auto* child : children(*at_, true)) {
            if (child->get_name() == name) {
                at_ = child;
                out_.command += (out_.command.empty() ? "" : " ") + name;
                out_.arguments.push_back(name);
                return;
            }
            known.push_back(child->get_name());
        }
        if (names_model_file(name)) wrong(fmt::format("'{0}' is no command: try cachalot chat -m {0}", name));
        const auto options = option_names(*at_);
        known.insert(known.end(), options.begin(), options.end());
        const auto meant = suggestion(name, known);
        wrong(fmt::format("there is no command '{}'{}", name, did_you_mean(meant)));
    }

    static std::string did_you_mean(const std::string& meant) {
        return meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant);
    }

    [[noreturn]] void unknown_option(const std::string& name) const {
        auto known = option_names(*at_);
        for (const auto& [other, ours] : kOtherNames)
            if (at_->get_option_no_throw(ours)) known.emplace_back(other);
        std::string meant = suggestion(name, known);
        for (const auto& [other, ours] : kOtherNames)
            if (meant == other) meant = ours;  // the name that help lists
        std::string hint = did_you_mean(meant);
        if (hint.empty())
            for (auto* other : children(root_, true))
                if (other != at_ && find_option(*other, name)) {
                    hint = fmt::format("; it is one of {}, and stands after the command", other->get_name());
                    break;
                }
        wrong(fmt::format("{} has no option '{}'{}", here(), name, hint));
    }

    void long_option(const std::string& argument) {
        const auto equals = argument.find('=');
        const std::string name = argument.substr(0, equals);
        CLI::Option* option = find_option(*at_, name);
        if (!option) unknown_option(name);
        if (!is_flag(*option))
            return value_of(
                *option, name,
                equals == std::string::npos ? next_value(*option, name) : argument.substr(equals + 1));
        if (equals != std::string::npos && equals + 1 == argument.size())
            wrong(fmt::format("{} takes no value", name));
        out_.arguments.push_back((option->check_lname(name.substr(2)) ? name : spelling(*option)) +
                                 (equals == std::string::npos ? "" : argument.substr(equals)));
    }

    // -x, -xVALUE, -x=VALUE, or several flags in one
    void short_options(const std::string& argument) {
        if (argument.size() > 2 && find_option(*at_, "-" + argument.substr(0, argument.find('='))))
            wrong(fmt::format("'{}': long options have two dashes, as -{}", argument, argument));
        for (std::size_t i = 1; i < argument.size(); ++i) {
            const std::string name = {'-', argument[i]};
            CLI::Option* option = at_->get_option_no_throw(name);
            if (!option) unknown_option(i == 1 ? argument : name);
            if (is_flag(*option)) {
                out_.arguments.push_back(name);
                continue;
            }
            const std::string rest = argument.substr(i + 1);
            return value_of(
                *option, name,
                rest.empty() ? next_value(*option, name) : rest.substr(rest.starts_with('=') ? 1 : 0));
        }
    }

    // The next argument, unless it is an option: then a value has been forgotten, or a variable was empty.
    std::string next_value(const CLI::Option& option, const std::string& name) {
        if (next_ == arguments_.size()) wrong(fmt::format("{} needs a value", name));
        const std::string& value = arguments_[next_];
        if (value == "--" || (value.starts_with('-') && value.size() > 1 &&
                              find_option(*at_, value.substr(0, value.find('=')))))
            wrong(fmt::format("{0} needs a value, and '{1}' is an option; if it is meant: {2}={1}", name,
                              value, spelling(option)));
        ++next_;
        return value;
    }

    void value_of(const CLI::Option& option, const std::string& name, const std::string& value) {
        std::string checked;
        try {
            checked = checked_value(option, value);
        } catch (const Error& e) {
            wrong(fmt::format("{}: {}", name, e.what()));
        }
        if (!given_.emplace(&option, value).second && option.get_expected_max() == 1)
            wrong(fmt::format("{} is given twice; it takes one value", spelling(option)));
        out_.arguments.push_back(spelling(option));
        out_.arguments.push_back(checked);
    }

    // How many words the command takes, and what it calls them.
    std::pair<int, std::string> places() const {
        int count = 0;
        std::string names;
        for (const auto* option : at_->get_options()) {
            if (!option->get_positional()) continue;
            count = std::min(kMostWords, count + std::min(kMostWords, option->get_items_expected_max()));
            names += (names.empty() ? "" : " ") + option->get_type_name();
        }
        return {count, names};
    }

    // What has a place among the words and a name, as the model has, may be given by one of them. The words
    // are all there by now, as options may follow them.
    void check_places() const {
        std::size_t free = 0;
        for (const auto* option : at_->get_options())
            if (option->get_positional() && !given_.contains(option))
                free += static_cast<std::size_t>(std::min(kMostWords, option->get_items_expected_max()));
        if (words_.size() <= free) return;
        std::size_t place = 0;
        for (const auto* option : at_->get_options()) {
            if (!option->get_positional()) continue;
            if (const auto found = given_.find(option); found != given_.end() && place < words_.size())
                wrong(fmt::format("'{}' and {} {} both say what {} is; leave out one of them", words_[place],
                                  spelling(*option), found->second, option->get_type_name()));
            ++place;
        }
    }

    void word(const std::string& word) {
        const auto [most, names] = places();
        if (words_.size() == static_cast<std::size_t>(most) && !at_->get_name().empty())
            wrong(most == 0 ? fmt::format("{} takes options only, and '{}' is none", here(), word)
                            : fmt::format("'{}' is one argument too many: {} takes {}", word, here(), names));
        // Only a program that we start may be given empty ones.
        if (word.empty() && !at_->get_option_no_throw("arguments")) wrong("an argument is empty");
        words_.push_back(word);
    }

    CLI::App& root_;
    CLI::App* at_;
    const std::vector<std::string>& arguments_;
    std::size_t next_ = 0;
    std::vector<std::string> words_;
    std::map<const CLI::Option*, std::string> given_;  // with a value, by name
    CommandLine out_;
};

}  // namespace

CommandLine read_command_line(CLI::App& app, const std::vector<std::string>& arguments) {
    take_one_value(app);
    return Reader(app, arguments).read();
}

std::string usage_text(std::string message, const std::string& command) {
    std::replace(message.begin(), message.end(), '\n', ' ');
    return fmt::format("cachalot: {}\nSee 'cachalot{}{} --help'.", message, command.empty() ? "" : " ",
                       command);
}

}  // namespace cachalot::cli
