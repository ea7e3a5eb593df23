// cachalot compare: how far the predictions of one model file are from those of another.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cli/command.h"
#include "cli/compare_report.h"
#include "cli/svg_figure.h"
#include "cli/text_input.h"
#include "file/gguf.h"
#include "measure/saved_logits.h"
#include "measure/text_windows.h"
#include "model/checkpoint_files.h"
#include "model/model_parts.h"

namespace cachalot::cli {
namespace {

struct CompareOptions {
    ModelOptions model;  // of both, but for the path
    std::vector<std::string> paths;
    TextInput input;
    std::string baseline, save_logits, plot;
    bool json = false;
};

// A file that has lost its name already, so that it goes with the process, however that ends.
class TemporaryFile {
  public:
    TemporaryFile() {
        std::string name = (std::filesystem::temp_directory_path() / "cachalot-XXXXXX").string();
        descriptor_.reset(::mkostemp(name.data(), O_CLOEXEC));
        if (!descriptor_)
            fail("{}: cannot create: {}; $TMPDIR names another folder", name, std::strerror(errno));
        ::unlink(name.c_str());
    }
    std::string path() const { return fmt::format("/dev/fd/{}", descriptor_.get()); }

  private:
    UniqueFd descriptor_;
};

bool has_engram_tables(const std::string& path) {
    if (checkpoint_kind(path) == CheckpointKind::release) return true;
    const Gguf file(path);
    return std::ranges::any_of(
        file.tensors(), [](const StoredTensor& t) { return part_of(t.view.name) == ModelPart::engram; });
}

// --engram is for whichever of the two has no tables itself.
ModelOptions options_of(const CompareOptions& o, const std::string& path) {
    ModelOptions options = o.model;
    options.path = path;
    if (!options.engram.empty() && o.paths.size() > 1 && has_engram_tables(options.path))
        options.engram.clear();
    return options;
}

void check_vocabularies(const Model& model, const std::string& path, const std::string& other,
                        const Hash128& key, std::int64_t size) {
    if (key != vocabulary_key(model.tokenizer) || size != model.config.vocab_size)
        fail("{} and {} have different vocabularies: their predictions cannot be compared", other, path);
}

// That B can be compared with A, before A is evaluated: mapping a model takes no time.
void check_models(const CompareOptions& o) {
    const auto a = load_model(options_of(o, o.paths[0])), b = load_model(options_of(o, o.paths[1]));
    if (!o.model.engram.empty() && has_engram_tables(o.paths[0]) && has_engram_tables(o.paths[1]))
        fail("both models have their Engram tables themselves; leave out {}", o.model.engram.string());
    check_vocabularies(*b, o.paths[1], o.paths[0], vocabulary_key(a->tokenizer), a->config.vocab_size);
}

// Runs A and keeps what it predicts.
void save_reference(const CompareOptions& o, const std::string& path) {
    Engine engine = options_of(o, o.paths[0]).engine();
    const auto ids = o.input.ids(engine.model().tokenizer);
    const auto window = window_size(o.model.context, engine.context());
    SavedLogitsWriter saved(path, saved_text(engine.model(), o.input.name(), ids, window));
    Progress progress("evaluating A", "tokens");
    std::size_t before = 0;
    for (const auto piece : text_windows(ids, window)) {
        evaluate_window(
            engine, piece,
            [&](std::size_t i, std::span<const float> logits) {
                saved.add(SavedRow::of(logits, piece[i + 1]));
            },
            [&](std::size_t done) { progress.update(before + done, ids.size()); });
        before += piece.size();
    }
    saved.finish();
}

Compared compare_with(const CompareOptions& o, const std::string& path, SavedLogits& saved) {
    Engine engine = options_of(o, path).engine();
    const SavedText& text = saved.text();
    check_vocabularies(engine.model(), path, text.model, text.vocabulary, text.vocab_size);
    if (o.model.context && static_cast<std::uint32_t>(o.model.context) != text.window)
        fail("{} was made with --ctx {}", o.baseline, text.window);
    Comparer comparer;
    Progress progress("evaluating B", "tokens");
    std::size_t before = 0;
    for (const auto piece : text_windows(text.ids, text.window)) {
        comparer.begin_window();
        evaluate_window(
            engine, piece,
            [&](std::size_t i, std::span<const float> logits) {
                comparer.add(i, diverge(saved.next(), piece[i + 1], logits));
            },
            [&](std::size_t done) { progress.update(before + done, text.ids.size()); });
        before += piece.size();
    }
    return {text.model, path, text.text, text.window, comparer.result()};
}

void compare(const CompareOptions& o) {
    const std::size_t models = o.baseline.empty() ? 2 : 1;
    if (o.paths.size() != models)
        wrong_usage(models == 2 ? "name two models, or one and a --baseline"
                                : "with --baseline name one model");
    if (models == 1 && (!o.input.file.empty() || !o.input.text.empty() || !o.input.tokens_file.empty()))
        wrong_usage(fmt::format("--baseline {} contains its text; do not give another", o.baseline));
    options_of(o, o.paths.front())
        .check({.models = o.paths,
                .inputs = {o.baseline, o.input.file, o.input.tokens_file},
                .outputs = {o.save_logits, o.plot}});
    if (models == 2) check_models(o);
    const TemporaryFile temporary;
    std::string reference = o.baseline;
    if (models == 2) save_reference(o, reference = o.save_logits.empty() ? temporary.path() : o.save_logits);
    SavedLogits saved(reference);
    const Compared compared = compare_with(o, o.paths.back(), saved);
    if (!o.plot.empty()) write_svg(o.plot, compare_svg(compared));
    if (o.json)
        print_line(compare_json(compared).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    else
        print_lines(compare_text(compared));
}

}  // namespace

void add_compare(CLI::App& app) {
    auto o = std::make_shared<CompareOptions>();
    auto* command =
        app.add_subcommand("compare", "What a smaller file of a model has lost: A against B on a text");
    command->add_option("models", o->paths, "A, the reference, and B; with --baseline only B")
        ->required()
        ->type_name("A B");
    o->model.add_to(*command);
    describe_windows(*command);
    command->remove_option(command->get_option("--model"));
    o->input.add_to(*command);
    command
        ->add_option("--baseline", o->baseline, "what A predicted, instead of A (perplexity --save-logits)")
        ->type_name("FILE");
    command
        ->add_option("--save-logits", o->save_logits,
                     "keep what A predicts, for --baseline. Contains the text")
        ->type_name("FILE");
    command->add_option("--plot", o->plot, "draw the curves")->type_name("FILE.svg");
    command->add_flag("--json", o->json, "print the result as JSON");
    command->footer(
        "The models are loaded one after the other. KL(A||B) is in nats: 0 where both predict the same.\n"
        "In brackets is the 95 % interval of a bootstrap over passages of 64 tokens; docs/measuring.md has\n"
        "more.");
    command->callback([o] {
        for (std::string& path : o->paths) path = find_model(path);
        compare(*o);
    });
}

}  // namespace cachalot::cli
