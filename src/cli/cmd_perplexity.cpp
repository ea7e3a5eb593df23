// cachalot perplexity: how well the model predicts a text.
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/command.h"
#include "cli/mean_text.h"
#include "cli/text_input.h"
#include "measure/saved_logits.h"
#include "measure/statistics.h"
#include "measure/text_windows.h"
#include "sampling/logprobs.h"

namespace cachalot::cli {
namespace {

struct PerplexityOptions {
    ModelOptions model;
    TextInput input;
    std::string save_logits;
    bool json = false;
};

void perplexity(const PerplexityOptions& o) {
    Engine engine =
        o.model.engine({.inputs = {o.input.file, o.input.tokens_file}, .outputs = {o.save_logits}});
    const auto ids = o.input.ids(engine.model().tokenizer);
    const auto window = window_size(o.model.context, engine.context());
    std::optional<SavedLogitsWriter> saved;
    if (!o.save_logits.empty())
        saved.emplace(o.save_logits, saved_text(engine.model(), o.input.name(), ids, window));
    Progress progress("evaluating", "tokens");
    BlockMean nll;
    double squares = 0;
    std::size_t before = 0;
    auto pieces = nlohmann::json::array();
    for (const auto piece : text_windows(ids, window)) {
        double sum = 0;
        nll.begin_window();
        evaluate_window(
            engine, piece,
            [&](std::size_t i, std::span<const float> logits) {
                const double value = log_sum_exp(logits) - logits[static_cast<std::size_t>(piece[i + 1])];
                nll.add(value);
                sum += value;
                squares += value * value;
                if (saved) saved->add(SavedRow::of(logits, piece[i + 1]));
            },
            [&](std::size_t done) { progress.update(before + done, ids.size()); });
        before += piece.size();
        pieces.push_back(sum / static_cast<double>(predictions(piece)));
    }
    progress.clear();
    if (saved) saved->finish();
    const Mean mean = nll.mean();
    const auto n = static_cast<double>(nll.count());
    const double error =
        n > 1 ? std::sqrt(std::max(0.0, squares / n - mean.value * mean.value) / (n - 1)) : 0;
    if (o.json)
        return print_line(nlohmann::ordered_json{
            {"tokens", nll.count()},
            {"window", window},
            {"nll", mean.value},
            {"nll_error", error},
            {"nll_interval", interval_json(mean)},
            {"perplexity", std::exp(mean.value)},
            {"nll_by_window",
             pieces}}.dump());
    print_line(fmt::format("{} tokens in windows of {}: nll {:.5f} +- {:.5f}{}, perplexity {:.4f}",
                           nll.count(), window, mean.value, error, interval_text(mean, " ({:.5f} to {:.5f})"),
                           std::exp(mean.value)));
}

}  // namespace

void add_perplexity(CLI::App& app) {
    auto o = std::make_shared<PerplexityOptions>();
    auto* command = app.add_subcommand("perplexity", "Mean negative log-likelihood and perplexity of a text");
    o->model.add_to(*command);
    describe_windows(*command);
    o->input.add_to(*command);
    command
        ->add_option("--save-logits", o->save_logits,
                     "keep what was predicted, for compare --baseline. Contains the text")
        ->type_name("FILE");
    command->footer(
        "The text is cut into windows of --ctx tokens (default 2048), each evaluated on its own. Behind +-\n"
        "is the standard error as if tokens were independent, in brackets the 95 % interval of a bootstrap\n"
        "over passages of 64 tokens.");
    command->add_flag("--json", o->json, R"(print {"tokens", "nll", "perplexity", ...})");
    command->callback([o] { perplexity(*o); });
}

}  // namespace cachalot::cli
