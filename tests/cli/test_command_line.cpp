#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/suggestion.h"

namespace cachalot::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Words = std::vector<std::string>;

// Every command as the program has it.
struct AllCommands : testing::Test {
    AllCommands() {
        for (auto add : {add_run, add_chat, add_serve, add_launch, add_tokenize, add_logits, add_perplexity,
                         add_compare, add_eval, add_score_official, add_imatrix, add_bench, add_cache,
                         add_cache_sim, add_inspect, add_plan, add_convert, add_synth})
            add(app);
    }

    Words read(const Words& arguments) { return read_command_line(app, arguments).arguments; }

    std::string wrong(const Words& arguments) {
        try {
            return "accepted: " + fmt::format("{}", fmt::join(read(arguments), " "));
        } catch (const UsageError& e) {
            return e.what();
        }
    }

    // Calls see(words, option) for every option of every command, with the words that name the command.
    template <class See>
    void each_option(const See& see) {
        each_option(app, {}, see);
    }
    template <class See>
    void each_option(CLI::App& at, const Words& words, const See& see) {
        for (auto* option : at.get_options())
            if (option->nonpositional()) see(words, *option);
        for (auto* child : at.get_subcommands([](CLI::App*) { return true; })) {
            Words deeper = words;
            if (!child->get_name().empty()) deeper.push_back(child->get_name());
            each_option(*child, deeper, see);
        }
    }

    CLI::App app;
};

Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

TEST_F(AllCommands, NoOptionTakesAnEmptyValueOrTheNextOption) {
    int options = 0;
    each_option([&](const Words& words, const CLI::Option& option) {
        for (const auto& name : option.get_lnames()) {
            ++options;
            const std::string dashed = "--" + name;
            if (option.get_items_expected_max() == 0) {
                EXPECT_THAT(wrong(with(words, {dashed + "="})), HasSubstr("takes no value")) << dashed;
                continue;
            }
            EXPECT_THAT(wrong(with(words, {dashed + "=", "--help"})), HasSubstr("the value is empty"))
                << dashed;
            EXPECT_THAT(wrong(with(words, {dashed, ""})), HasSubstr("the value is empty")) << dashed;
            EXPECT_THAT(wrong(with(words, {dashed, "--help"})), HasSubstr("needs a value, and '--help'"))
                << dashed;
            EXPECT_THAT(wrong(with(words, {dashed, "--"})), HasSubstr("needs a value")) << dashed;
            EXPECT_THAT(wrong(with(words, {dashed})), HasSubstr("needs a value")) << dashed;
        }
        for (const auto& name : option.get_snames())
            if (option.get_items_expected_max() != 0) {
                EXPECT_THAT(wrong(with(words, {"-" + name, ""})), HasSubstr("the value is empty")) << name;
                EXPECT_THAT(wrong(with(words, {"-" + name + "="})), HasSubstr("the value is empty")) << name;
            }
    });
    EXPECT_GT(options, 150);
}

// Which options take numbers is said here once more: by a value that is refused only there.
TEST_F(AllCommands, NumbersAreNumbers) {
    int numbers = 0;
    each_option([&](const Words& words, const CLI::Option& option) {
        if (option.get_items_expected_max() == 0 || option.get_lnames().empty()) return;
        const std::string name = "--" + option.get_lnames().front();
        const auto type = option.get_type_name();
        EXPECT_FALSE(type.empty()) << name;  // without one its values would not be checked
        if (wrong(with(words, {name, "zz"})).starts_with("accepted")) return;
        ++numbers;
        // Where fractions are legal a number may be large; the option's own range refuses it later.
        const bool fraction = wrong(with(words, {name, "0.5"})).starts_with("accepted");
        for (const char* value : {"nan", "-nan", "inf", "-inf", "infinity", "1e999", "-1e999", "1x", "0x10",
                                  "1,,2", "99999999999999999999999", "1e39", " 1", "--1", "1 "})
            if (std::string(value) != "99999999999999999999999" || !fraction) {
                EXPECT_THAT(wrong(with(words, {name, value})), testing::Not(testing::StartsWith("accepted")))
                    << name << " " << value;
            }
    });
    EXPECT_GT(numbers, 50);
}

TEST_F(AllCommands, ListsAreCheckedItemByItem) {
    EXPECT_THAT(read({"bench", "-d", "0,4k,010"}), ElementsAre("bench", "--depth", "0,4096,10"));
    for (const char* list : {"0,nan", "1,,2", ",1", "1,", ",", "0,1e30", "99999999999999999999"})
        EXPECT_THAT(wrong({"bench", "-d", list}), HasSubstr("-d: ")) << list;
    EXPECT_THAT(wrong({"cache-sim", "-p", "lru,,redis"}), HasSubstr("empty item"));
    EXPECT_THAT(wrong({"logits", "--tokens", "0,inf"}), HasSubstr("'inf' is no whole number"));
}

TEST_F(AllCommands, CountsOfTokensMayBeShort) {
    EXPECT_THAT(read({"run", "-c", "4k"}), ElementsAre("run", "--ctx", "4096"));
    EXPECT_THAT(read({"run", "-c=1M"}), ElementsAre("run", "--ctx", "1048576"));
    EXPECT_THAT(read({"run", "-n", "-1"}), ElementsAre("run", "--max-tokens", "-1"));
    EXPECT_THAT(read({"run", "-n007"}), ElementsAre("run", "--max-tokens", "7"));
    for (const char* count : {"k", "4kk", "4.5k", "9999999m", "-9999999999", "4 k"})
        EXPECT_THAT(wrong({"run", "-c", count}), HasSubstr("-c: ")) << count;
}

TEST_F(AllCommands, OtherNamesAreUnderstood) {
    const std::pair<const char*, const char*> names[] = {{"--temperature", "--temp"},
                                                         {"--ctx-size", "--ctx"},
                                                         {"--ctx_size", "--ctx"},
                                                         {"--n-predict", "--max-tokens"},
                                                         {"--n_predict", "--max-tokens"},
                                                         {"--max_tokens", "--max-tokens"},
                                                         {"--top_p", "--top-p"},
                                                         {"--top_k", "--top-k"},
                                                         {"--max-new-tokens", "--max-tokens"},
                                                         {"--num_ctx", "--ctx"},
                                                         {"--repeat-penalty", "--repetition-penalty"},
                                                         {"--frequency_penalty", "--frequency-penalty"},
                                                         {"--threads", "--threads"}};
    for (const auto& [other, ours] : names)
        EXPECT_THAT(read({"run", other, "1"}), ElementsAre("run", ours, "1")) << other;
    EXPECT_THAT(read({"run", "--ignore_eos"}), ElementsAre("run", "--ignore-eos"));
    EXPECT_THAT(wrong({"inspect", "--temperature", "1"}), HasSubstr("inspect has no option '--temperature'"));
}

TEST_F(AllCommands, UnknownNamesAreNamedWithTheLikeliest) {
    EXPECT_EQ(wrong({"fly"}), "there is no command 'fly'");
    EXPECT_EQ(wrong({"serv"}), "there is no command 'serv'; did you mean 'serve'?");
    EXPECT_EQ(wrong({"caht"}), "there is no command 'caht'; did you mean 'chat'?");
    EXPECT_EQ(wrong({"cache", "stats"}), "there is no command 'stats'; did you mean 'stat'?");
    EXPECT_EQ(wrong({"help"}), "there is no command 'help'; did you mean '--help'?");
    EXPECT_EQ(wrong({"model.gguf"}), "'model.gguf' is no command: try cachalot chat -m model.gguf");
    EXPECT_EQ(wrong({"run", "--temprature", "1"}),
              "run has no option '--temprature'; did you mean '--temp'?");
    EXPECT_EQ(wrong({"run", "--modle=x"}), "run has no option '--modle'; did you mean '--model'?");
    EXPECT_EQ(wrong({"run", "-temp", "1"}), "'-temp': long options have two dashes, as --temp");
    EXPECT_EQ(wrong({"run", "--max-connections", "1"}),
              "run has no option '--max-connections'; it is one of serve, and stands after the command");
    EXPECT_THAT(wrong({"--ctx", "4", "run"}), HasSubstr("cachalot has no option '--ctx'"));
    EXPECT_EQ(wrong({"run", "-Z"}), "run has no option '-Z'");
    EXPECT_THAT(wrong({}), HasSubstr("give a command: run, chat, serve"));
}

TEST_F(AllCommands, ValuesAndWordsStayWhatTheyAre) {
    EXPECT_THAT(read({"run", "-p", "--nonsense="}), ElementsAre("run", "--prompt", "--nonsense="));
    EXPECT_THAT(read({"run", "--prompt=--json"}), ElementsAre("run", "--prompt", "--json"));
    EXPECT_THAT(read({"run", "--stop=a", "--stop", "b=c", "What", "is?"}),
                ElementsAre("run", "--stop", "a", "--stop", "b=c", "--", "What", "is?"));
    EXPECT_THAT(read({"run", "--", "-5", "--json"}), ElementsAre("run", "--", "-5", "--json"));
    EXPECT_THAT(read({"run", "chat"}), ElementsAre("run", "--", "chat"));
    EXPECT_THAT(read({"tokenize", "-f", "-"}), ElementsAre("tokenize", "--file", "-"));
    EXPECT_THAT(read({"launch", "codex", "--", "exec", "", "--model=x"}),
                ElementsAre("launch", "--", "codex", "exec", "", "--model=x"));
    EXPECT_EQ(wrong({"inspect", ""}), "an argument is empty");
}

TEST(Suggestion, CountsLettersThatDiffer) {
    EXPECT_EQ(edit_distance("", "abc"), 3);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
    EXPECT_EQ(edit_distance("caht", "chat"), 1);
    EXPECT_EQ(edit_distance("same", "same"), 0);
}

TEST(Suggestion, IsNearOrNothing) {
    const Words known = {"--temp", "--top-p", "--model", "--max-tokens"};
    EXPECT_EQ(suggestion("--tmep", known), "--temp");
    EXPECT_EQ(suggestion("--max-tok", known), "--max-tokens");
    EXPECT_EQ(suggestion("mdoel", known), "--model");
    EXPECT_EQ(suggestion("--verbose", known), "");
    EXPECT_EQ(suggestion("", known), "");
    EXPECT_EQ(suggestion(std::string(100000, 'x'), known), "");
}

TEST(Usage, IsTwoLines) {
    EXPECT_EQ(usage_text("what\nis wrong", "cache ls"),
              "cachalot: what is wrong\nSee 'cachalot cache ls --help'.");
    EXPECT_EQ(usage_text("x", ""), "cachalot: x\nSee 'cachalot --help'.");
}

}  // namespace
}  // namespace cachalot::cli
