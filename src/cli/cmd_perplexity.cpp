// cachalot perplexity: how well the model predicts a text.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "file/text_file.h"
#include "sampling/logprobs.h"

namespace cachalot::cli {
namespace {

struct PerplexityOptions {
    ModelOptions model;
    std::string text, file, tokens_file;
    bool json = false;
};

constexpr std::int64_t kWindow = 2048;  // unless --ctx says otherwise

void perplexity(const PerplexityOptions& o) {
    Engine engine = o.model.engine();
    auto ids = o.tokens_file.empty()
                   ? engine.model().tokenizer.encode(input_text(o.text, o.file), SpecialTokens::literal)
                   : read_ids(o.tokens_file);
    if (ids.size() < 2) fail("the text has {} tokens; at least 2 are needed", ids.size());
    auto window =
        static_cast<std::size_t>(o.model.context ? o.model.context : std::min(kWindow, engine.context()));
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    auto chunk = static_cast<std::size_t>(engine.options().chunk);
    Progress progress("evaluating", "tokens");
    double sum = 0, squares = 0;
    std::int64_t count = 0;
    auto pieces = nlohmann::json::array();
    for (std::size_t begin = 0; begin + 1 < ids.size(); begin += window) {
        auto piece = std::span(ids).subspan(begin, std::min(window, ids.size() - begin));
        auto state = engine.new_state();
        double piece_sum = 0;
        for (std::size_t first = 0; first < piece.size(); first += chunk) {
            auto part = piece.subspan(first, std::min(chunk, piece.size() - first));
            Segment segment{&state, part, true};
            auto logits = engine.step({&segment, 1});
            for (std::size_t i = 0; i < part.size() && first + i + 1 < piece.size(); ++i) {
                auto row = logits.subspan(i * vocab, vocab);
                double nll = log_sum_exp(row) - row[static_cast<std::size_t>(piece[first + i + 1])];
                piece_sum += nll;
                squares += nll * nll;
                ++count;
            }
            progress.update(begin + first + part.size(), ids.size());
        }
        sum += piece_sum;
        if (piece.size() > 1) pieces.push_back(piece_sum / static_cast<double>(piece.size() - 1));
    }
    progress.clear();
    double n = static_cast<double>(count), mean = sum / n;
    double error = count > 1 ? std::sqrt(std::max(0.0, squares / n - mean * mean) / (n - 1)) : 0;
    if (o.json)
        return print_line(nlohmann::ordered_json{
            {"tokens", count},
            {"window", window},
            {"nll", mean},
            {"nll_error", error},
            {"perplexity", std::exp(mean)},
            {"nll_by_window",
             pieces}}.dump());
    print_line(fmt::format("{} tokens in windows of {}: nll {:.5f} +- {:.5f}, perplexity {:.4f}", count,
                           window, mean, error, std::exp(mean)));
}

}  // namespace

void add_perplexity(CLI::App& app) {
    auto o = std::make_shared<PerplexityOptions>();
    auto* command = app.add_subcommand("perplexity", "Mean negative log-likelihood and perplexity of a text");
    o->model.add_to(*command);
    command->add_option("-p,--text", o->text, "the text; else -f, else stdin");
    command->add_option("-f,--file", o->file, "read the text from a file")->type_name("FILE");
    command->add_option("--tokens-file", o->tokens_file, "or token ids from a file")->type_name("FILE");
    command->footer(
        "The text is cut into windows of --ctx tokens (default 2048), each evaluated on its own.");
    command->add_flag("--json", o->json, R"(print {"tokens", "nll", "perplexity", ...})");
    command->callback([o] { perplexity(*o); });
}

}  // namespace cachalot::cli
