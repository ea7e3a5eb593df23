// cachalot logits: the raw output of the model or of its drafter, for comparison with other implementations.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/checked.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/output.h"
#include "engine/model_drafter.h"
#include "file/output_file.h"

namespace cachalot::cli {
namespace {

struct LogitsOptions {
    ModelOptions model;
    std::vector<std::int32_t> tokens;
    std::string tokens_file, output;
    bool step = false;
    std::optional<std::int64_t> draft;  // a position
    bool biased = false, json = false;
};

// The block behind position *o.draft: its first row is the token after it.
void draft_logits(const LogitsOptions& o, std::span<const std::int32_t> ids, Engine& engine,
                  OutputFile& file) {
    if (!engine.drafter())
        fail("{}: has no drafter; --draft-model names one", engine.model().checkpoint->source());
    if (*o.draft < 0 || *o.draft + 1 >= std::ssize(ids))
        fail("--draft {}: the token behind this position is the first of the block; there are {} tokens",
             *o.draft, ids.size());
    const bool has_bias = engine.drafter()->kind == DrafterKind::dspark;
    if (o.biased && !has_bias) fail("--biased: the drafts of an MTP block have no bias");
    const auto committed = ids.first(static_cast<std::size_t>(*o.draft) + 1);
    auto state = engine.new_state();
    engine.prefill(state, committed);

    const auto drafter = make_model_drafter(engine);
    const auto block = static_cast<std::size_t>(drafter->block_size());
    const auto vocab = static_cast<std::size_t>(engine.model().config.vocab_size);
    std::vector<float> rows(block * vocab);  // [block, vocab]
    drafter->observe([&](int, int row, bool biased, std::span<const float> logits) {
        if (biased == (o.biased || !has_bias))
            std::ranges::copy(logits, rows.begin() + static_cast<std::ptrdiff_t>(row * vocab));
    });
    auto likeliest = [](std::span<const float> logits) -> std::optional<std::int32_t> {
        return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
    };
    const ModelDrafter::Request request{&state, ids[committed.size()], drafter->block_size(), likeliest};
    const auto draft = drafter->propose({&request, 1}).front();
    file.write(std::as_bytes(std::span(rows).first(draft.tokens.size() * vocab)));
    file.commit();
    if (!o.json) return;
    print_line(nlohmann::ordered_json{{"position", *o.draft},
                                      {"newest", request.newest},
                                      {"tokens", draft.tokens},
                                      {"confidences", draft.confidences}}
                   .dump());
}

void logits(const LogitsOptions& o) {
    auto ids = o.tokens_file.empty() ? o.tokens : read_ids(o.tokens_file);
    if (o.tokens.empty() && o.tokens_file.empty()) wrong_usage("no tokens: give --tokens or --tokens-file");
    if (ids.empty()) fail("{}: holds no tokens", o.tokens_file);
    if (!o.draft && (o.biased || o.json || !o.model.draft_model.empty()))
        wrong_usage("--biased, --json and --draft-model are of drafted tokens: give --draft POSITION");
    if (o.draft && o.step) wrong_usage("--step evaluates all tokens, and --draft writes one block");
    Engine engine = o.model.engine({.inputs = {o.tokens_file}, .outputs = {o.output}});
    OutputFile file(o.output);
    if (o.draft) return draft_logits(o, ids, engine, file);
    auto state = engine.new_state();
    file.reserve(checked_mul<std::uint64_t>(
        ids.size(), static_cast<std::uint64_t>(engine.model().config.vocab_size) * sizeof(float), "--out"));
    Progress progress("evaluating", "tokens");
    auto chunk = static_cast<std::size_t>(o.step ? 1 : engine.options().chunk);
    for (std::size_t first = 0; first < ids.size(); first += chunk) {
        const auto part = std::span(ids).subspan(first, std::min(chunk, ids.size() - first));
        file.write(std::as_bytes(engine.step(state, part, RowsKind::prompt, Batch::Logits::all)));
        progress.update(std::min(first + chunk, ids.size()), ids.size());
    }
    file.commit();
}

}  // namespace

void add_logits(CLI::App& app) {
    auto o = std::make_shared<LogitsOptions>();
    auto* command = app.add_subcommand("logits", "Writes the logits of every position of a token sequence");
    o->model.add_to(*command);
    auto* given = command->add_option("--tokens", o->tokens, "token ids: --tokens 0,5,7")
                      ->delimiter(',')
                      ->type_name("IDS");
    command->add_option("--tokens-file", o->tokens_file, "read the ids from a file")
        ->excludes(given)
        ->type_name("FILE");
    command->add_option("--out", o->output, "float32, little-endian, [tokens, vocab]")
        ->required()
        ->type_name("FILE");
    command->add_flag("--step", o->step, "evaluate one token at a time");
    o->model.add_draft_model_to(*command);
    command
        ->add_option(
            "--draft", o->draft,
            "write what the drafter drafts behind this position (from 0), [block, vocab]: the tokens "
            "up to it are read, the one behind it is the first row of the block")
        ->type_name("POSITION");
    command->add_flag("--biased", o->biased, "with --draft: the logits after the Markov bias, not before");
    command->add_flag("--json", o->json, "with --draft: print the drafted ids and their confidences");
    command->callback([o] {
        if (o->draft) o->model.draft = "auto";
        logits(*o);
    });
}

}  // namespace cachalot::cli
