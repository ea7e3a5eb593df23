// cachalot score-official: does a model file answer as DeepSeek's API does?
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "file/in_quotes.h"
#include "measure/official_answers.h"

namespace cachalot::cli {
namespace {

struct ScoreOptions {
    ModelOptions model;
    std::string folder;
    double require = 0;  // percent
    bool json = false;
};

struct Total {
    std::int64_t steps = 0, agreed = 0, compared = 0, prompts_alike = 0;
    double logprob = 0, difference = 0;

    void add(const OfficialScore& score) {
        prompts_alike += score.prompt_tokens == score.official_prompt_tokens;
        agreed += score.agreed();
        for (const auto& step : score.steps) {
            ++steps;
            logprob += step.logprob;
            difference += step.difference * static_cast<double>(step.compared);
            compared += step.compared;
        }
    }
    double percent() const { return 100.0 * static_cast<double>(agreed) / static_cast<double>(steps); }
};

nlohmann::ordered_json json_of(const OfficialScore& score) {
    nlohmann::ordered_json json{{"id", score.id},
                                {"prompt_tokens", score.prompt_tokens},
                                {"official_prompt_tokens", score.official_prompt_tokens},
                                {"agreed", score.agreed()},
                                {"steps", nlohmann::json::array()}};
    for (const auto& s : score.steps) {
        nlohmann::ordered_json step{
            {"token", s.text}, {"logprob", s.logprob}, {"rank", s.rank}, {"best", s.best}};
        if (s.compared) step.update({{"difference", s.difference}, {"compared", s.compared}});
        json["steps"].push_back(step);
    }
    return json;
}

std::string text_of(const OfficialScore& score) {
    std::string text = fmt::format("{}: {} of {} tokens agree", score.id, score.agreed(), score.steps.size());
    if (score.prompt_tokens != score.official_prompt_tokens)
        text += fmt::format("; the prompt has {} tokens here and {} there", score.prompt_tokens,
                            score.official_prompt_tokens);
    text += "\n";
    for (const auto& s : score.steps) {
        text += fmt::format("    {:<24} {:>9.4f}", in_quotes(s.text), s.logprob);
        if (s.rank > 0)
            text += fmt::format("  number {}; {} is more probable here", s.rank + 1, in_quotes(s.best));
        if (s.compared) text += fmt::format("  mean difference {:.4f}", s.difference);
        text += "\n";
    }
    return text;
}

void score_all(const ScoreOptions& o) {
    const auto answers = read_official(o.folder);
    CommandFiles files;
    for (const auto& path : official_files(o.folder)) files.inputs.push_back(path.string());
    Engine engine = o.model.engine(files);
    Total total;
    auto prompts = nlohmann::ordered_json::array();
    for (const auto& answer : answers) {
        Progress progress(answer.id, "tokens");
        const auto score = score_official(engine, answer, [&](std::int64_t done) {
            progress.update(static_cast<std::uint64_t>(done),
                            static_cast<std::uint64_t>(answer.prompt_tokens));
            return true;
        });
        progress.clear();
        total.add(score);
        if (o.json)
            prompts.push_back(json_of(score));
        else
            print_lines(text_of(score));
    }
    const auto n = static_cast<double>(total.steps);
    if (o.json) {
        nlohmann::ordered_json result{{"model", engine.model().checkpoint->source()},
                                      {"steps", total.steps},
                                      {"agreed", total.agreed},
                                      {"mean_logprob", total.logprob / n},
                                      {"prompts", prompts}};
        print_line(result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
        print_lines(fmt::format(
            "\n{} of {} tokens agree ({:.1f} %), mean log-probability of the official ones {:.4f}\n",
            total.agreed, total.steps, total.percent(), total.logprob / n));
        print_lines(total.compared
                        ? fmt::format("mean difference of {} log-probabilities {:.4f}\n", total.compared,
                                      total.difference / static_cast<double>(total.compared))
                        : "the official answers have no log-probabilities but for the choice itself\n");
        print_lines(fmt::format("{} of {} prompts have the official number of tokens\n", total.prompts_alike,
                                answers.size()));
    }
    if (total.percent() < o.require)
        fail("{:.1f} % of the tokens agree, {} % are required", total.percent(), o.require);
}

}  // namespace

void add_score_official(CLI::App& app) {
    auto o = std::make_shared<ScoreOptions>();
    auto* command = app.add_subcommand("score-official", "Compares a model with answers of DeepSeek's API");
    command->add_option("folder", o->folder, "a folder of *.official.json (or one that has it as official/)")
        ->required()
        ->type_name("DIR");
    o->model.add_to(*command);
    command->add_option("--require", o->require, "fail if a smaller share of the tokens agrees")
        ->check(CLI::Range(0.0, 100.0))
        ->type_name("PERCENT");
    command->add_flag("--json", o->json, "print everything as JSON");
    command->footer(
        "Each answer is given to the model token by token; a token agrees if the model finds it most\n"
        "probable. Needs a model with DeepSeek V4's vocabulary; the answers are of one release of V4 Flash.\n"
        "docs/measuring.md describes the files.");
    command->callback([o] { score_all(*o); });
}

}  // namespace cachalot::cli
