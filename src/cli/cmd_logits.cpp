// cachalot logits: the raw output of the model, for comparison with other implementations.
#include "base/checked.h"
#include "base/error.h"
#include "cli/command.h"
#include "file/output_file.h"

namespace cachalot::cli {
namespace {

struct LogitsOptions {
    ModelOptions model;
    std::vector<std::int32_t> tokens;
    std::string tokens_file, output;
    bool step = false;
};

void logits(const LogitsOptions& o) {
    auto ids = o.tokens_file.empty() ? o.tokens : read_ids(o.tokens_file);
    if (o.tokens.empty() && o.tokens_file.empty()) wrong_usage("no tokens: give --tokens or --tokens-file");
    if (ids.empty()) fail("{}: holds no tokens", o.tokens_file);
    Engine engine = o.model.engine({.inputs = {o.tokens_file}, .outputs = {o.output}});
    auto state = engine.new_state();
    OutputFile file(o.output);
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
    command->callback([o] { logits(*o); });
}

}  // namespace cachalot::cli
