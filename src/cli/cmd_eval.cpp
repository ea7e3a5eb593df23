// cachalot eval: small checks of what a model can do, to notice when something is lost.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/mean_text.h"
#include "cli/option_value.h"
#include "engine/state_fingerprint.h"
#include "file/in_quotes.h"
#include "file/text_file.h"
#include "file/user_folders.h"
#include "measure/eval_run.h"
#include "measure/eval_state.h"
#include "measure/statistics.h"
#include "model/content_fingerprint.h"

namespace cachalot::cli {
namespace {

struct EvalCommand {
    ModelOptions model;
    EvalOptions eval;
    std::vector<std::string> families;  // empty: all
    std::string think = "off", state, against;
    std::int64_t max_tokens = 0;
    double require = 0;  // percent
    bool list = false, json = false, show = false;
};

std::vector<EvalFamily> chosen_families(const std::vector<std::string>& names) {
    if (names.empty()) return eval_families();
    std::vector<EvalFamily> chosen;
    for (const auto& family : eval_families())
        if (std::find(names.begin(), names.end(), family.name) != names.end()) chosen.push_back(family);
    return chosen;
}

// What has to be equal for outcomes to be continued: what computes, and how it is asked.
std::string run_name(const EvalCommand& o, const EvalSettings& settings, const Engine& engine) {
    Progress progress("reading the model once, to know it", "bytes", true);
    const auto model = content_fingerprint(
        engine.model(), {KeptHashes(default_hash_folder()), [&](std::uint64_t done, std::uint64_t total) {
                             progress.update(done, total);
                             return true;
                         }});
    const auto name = "model " + hex(state_fingerprint(engine, *model));
    return name + fmt::format(", seed {}, lengths {}, think {}, at most {} tokens", o.eval.seed,
                              fmt::join(o.eval.lengths, "/"), o.think, settings.max_tokens);
}

void list_items(const std::vector<EvalFamily>& families, const EvalOptions& options) {
    for (const auto& family : families)
        for (const auto& item : eval_items(family, options)) {
            nlohmann::ordered_json line{{"id", item.id}, {"expected", item.expected}, {"turns", item.turns}};
            if (!item.tools.empty()) line["tools"] = item.tools;
            print_line(line.dump());
        }
}

struct FamilyResult {
    std::string name;
    std::vector<EvalOutcome> outcomes;
    // Beside an earlier run: items that both have, and their mean scores.
    std::int64_t common = 0;
    double before = 0, now = 0;
    std::vector<std::string> worse, better;

    Mean mean() const {
        BlockMean mean;
        for (const auto& o : outcomes) {
            mean.begin_window();  // items are independent
            mean.add(o.score);
        }
        return mean.mean();
    }
    void compare(const EvalRecord& earlier) {
        for (const auto& o : outcomes) {
            const auto found = earlier.outcomes.find(o.id);
            if (found == earlier.outcomes.end()) continue;
            if (found->second.expected != o.expected)
                fail("item {} is another one in the earlier run: it had another seed or other lengths", o.id);
            ++common;
            before += found->second.score;
            now += o.score;
            if (o.score < found->second.score) worse.push_back(o.id);
            if (o.score > found->second.score) better.push_back(o.id);
        }
        if (common) before /= static_cast<double>(common), now /= static_cast<double>(common);
    }
};

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string row_of(const FamilyResult& r, bool compared) {
    Mean mean = r.mean();
    if (mean.interval) mean.interval = {100 * mean.interval->low, 100 * mean.interval->high};
    const auto cut = std::count_if(r.outcomes.begin(), r.outcomes.end(), [](const auto& o) { return o.cut; });
    auto text = fmt::format("{:<12} {:>5} items {:>9}{:<18}", r.name, r.outcomes.size(), percent(mean.value),
                            interval_text(mean, "  [{:.1f}, {:.1f}]"));
    if (compared)
        text += r.common ? fmt::format("  before {:>8}  worse {:>3}  better {:>3}", percent(r.before),
                                       r.worse.size(), r.better.size())
                         : "  not in the earlier run";
    if (cut) text += fmt::format("  ({} answers were cut off)", cut);
    return text + "\n";
}

nlohmann::ordered_json json_of(const FamilyResult& r, bool compared) {
    nlohmann::ordered_json json{
        {"family", r.name}, {"items", r.outcomes.size()}, {"score", mean_json(r.mean())}};
    if (compared)
        json["against"] = {{"items", r.common},
                           {"before", r.before},
                           {"now", r.now},
                           {"worse", r.worse},
                           {"better", r.better}};
    json["outcomes"] = nlohmann::json::array();
    for (const auto& o : r.outcomes) json["outcomes"].push_back(to_json(o));
    return json;
}

void eval(const EvalCommand& o) {
    const auto families = chosen_families(o.families);
    if (o.list) return list_items(families, o.eval);
    std::optional<EvalRecord> earlier;
    if (!o.against.empty()) earlier = parse_eval_record(read_text_input(o.against), o.against);

    Engine engine = o.model.engine({.inputs = {o.against}, .outputs = {o.state}});
    EvalSettings settings;
    AnswerOptions answer;
    settings.chat = answer.chat(o.think);
    settings.max_tokens = o.max_tokens ? o.max_tokens : settings.chat.thinking ? 2048 : 128;
    const auto& source = engine.model().checkpoint->source();
    EvalState state(o.state, run_name(o, settings, engine), source);
    ChatSession session(engine);
    Progress progress("checking", "items");
    std::vector<FamilyResult> results;
    FamilyResult total{"all", {}};
    const auto count = static_cast<std::uint64_t>(o.eval.items) * families.size();
    for (const auto& family : families) {
        results.push_back({family.name, {}});
        for (const auto& item : eval_items(family, o.eval)) {
            const EvalOutcome* known = state.find(item.id);
            auto outcome = known ? *known : run_eval_item(session, item, settings);
            if (!known) state.add(outcome);
            progress.update(total.outcomes.size() + 1, count);
            if (o.show) {
                progress.clear();
                say("{:<16} {:.2f}  expected {}, got {}", outcome.id, outcome.score,
                    in_quotes(outcome.expected),
                    in_quotes(fmt::format("{}", fmt::join(outcome.answers, " | "))));
            }
            total.outcomes.push_back(outcome);
            results.back().outcomes.push_back(std::move(outcome));
        }
    }
    progress.clear();
    if (earlier) {
        total.compare(*earlier);
        for (auto& r : results) r.compare(*earlier);
    }
    const auto score = 100 * total.mean().value;
    if (o.json) {
        nlohmann::ordered_json result{{"model", source},
                                      {"seed", o.eval.seed},
                                      {"lengths", o.eval.lengths},
                                      {"think", o.think},
                                      {"score", mean_json(total.mean())},
                                      {"families", nlohmann::json::array()}};
        if (earlier)
            result["against"] = {{"model", earlier->model}, {"before", total.before}, {"now", total.now}};
        for (const auto& r : results) result["families"].push_back(json_of(r, earlier.has_value()));
        print_line(result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
        std::string text;
        for (const auto& r : results) text += row_of(r, earlier.has_value());
        text += row_of(total, earlier.has_value());
        if (earlier && !total.worse.empty()) text += fmt::format("worse: {}\n", fmt::join(total.worse, ", "));
        print_lines(text);
    }
    if (score < o.require) fail("the score is {:.1f} %, {} % are required", score, o.require);
}

std::string families_text() {
    std::string text = "Families:\n";
    for (const auto& f : eval_families()) text += fmt::format("  {:<12} {}\n", f.name, f.description);
    return text +
           "\nThe same seed gives the same items, and each family its own, however many. Scores are shares\n"
           "of what is right; they tell whether a change has cost something, not which of two different\n"
           "models is better. In brackets is the 95 % interval over items like these.\n\n"
           "  cachalot eval -m original.gguf --state original.eval\n"
           "  cachalot eval -m smaller.gguf --against original.eval";
}

}  // namespace

void add_eval(CLI::App& app) {
    auto o = std::make_shared<EvalCommand>();
    auto* command = app.add_subcommand("eval", "Small checks of what a model can do, to notice regressions");
    o->model.add_to(*command);
    o->model.add_decoder_prefill_to(*command);
    std::vector<std::string> names;
    for (const auto& f : eval_families()) names.push_back(f.name);
    command->add_option("--family", o->families, "only these families, see below; default: all")
        ->delimiter(',')
        ->check(one_of(names))
        ->type_name("NAME,..");
    command->add_option("--items", o->eval.items, "items of each family")
        ->check(CLI::Range(1, 100'000))
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--seed", o->eval.seed, "of the items")->capture_default_str()->type_name("N");
    command->add_option("--length", o->eval.lengths, "words of long texts, taken in turn")
        ->delimiter(',')
        ->capture_default_str()
        ->type_name("N,..");
    command->add_option("--think", o->think, "thinking before the answer")
        ->check(checked_by(check_think))
        ->capture_default_str();
    command
        ->add_option("-n,--max-tokens", o->max_tokens,
                     "most tokens of an answer; 0: 128, or 2048 with thinking")
        ->check(CLI::Range(0, 1 << 20))
        ->type_name("TOKENS");
    command->add_option("--state", o->state, "keep the outcomes, and go on from those that are there")
        ->type_name("FILE");
    command->add_option("--against", o->against, "compare with the state of an earlier run")
        ->type_name("FILE");
    command->add_option("--require", o->require, "fail if the score is lower")
        ->check(CLI::Range(0.0, 100.0))
        ->type_name("PERCENT");
    command->add_flag("--show", o->show, "show every item's outcome as it comes");
    command->add_flag("--list", o->list, "print the items, a JSON object a line, and run nothing");
    command->add_flag("--json", o->json, "print everything as JSON");
    command->footer(families_text());
    command->callback([o] { eval(*o); });
}

}  // namespace cachalot::cli
