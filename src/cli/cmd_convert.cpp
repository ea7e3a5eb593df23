// cachalot convert: a release or a GGUF file to one GGUF file, or a GGUF file to the release that it was made
// from.
#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "cli/command.h"
#include "cli/convert_pack.h"
#include "cli/option_value.h"
#include "cli/outputs.h"
#include "model/checkpoint_files.h"
#include "model/convert.h"
#include "model/draft_model.h"
#include "model/gguf_checkpoint.h"
#include "model/importance.h"
#include "model/release_record.h"
#include "model/weights.h"
#include "quant/quantize.h"

namespace cachalot::cli {
namespace {

struct ConvertOptions {
    std::string input, engram, draft_model, output, engram_output, to = "gguf", recipe, experts, dense,
                                                                   embeddings, imatrix;
    std::vector<std::string> types, leave_out;
    bool force = false, pack = false;
    int threads = 0;
};

// Types are written q4_K, Q4_K or q4_k elsewhere.
DType parse_type(std::string name) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    return parse_dtype(name);
}

// "REGEX=TYPE"
TypeOverride parse_override(const std::string& text) {
    const auto at = text.rfind('=');
    if (at == text.npos || at == 0) fail("'{}' is not REGEX=TYPE", text);
    return {text.substr(0, at), parse_type(text.substr(at + 1))};
}

const CLI::Validator& is_type() {
    static const CLI::Validator validator = checked_by([](const std::string& name) { parse_type(name); });
    return validator;
}

TypeOptions type_options(const ConvertOptions& o) {
    auto type = [](const std::string& name) {
        return name.empty() ? std::nullopt : std::optional(parse_type(name));
    };
    TypeOptions types{o.recipe, type(o.experts), type(o.dense), type(o.embeddings), {}};
    for (const auto& text : o.types) types.overrides.push_back(parse_override(text));
    return types;
}

void to_release(const ConvertOptions& o) {
    if (checkpoint_kind(o.input) == CheckpointKind::release) fail("{} is a release already", o.input);
    check_new_folder(o.output);
    const GgufCheckpoint checkpoint(o.input, o.engram);
    (void)bind_weights(checkpoint);  // names what is missing before anything is written
    Progress progress("writing", "bytes", true);
    auto summary = write_release(checkpoint, o.output, [&](std::uint64_t done, std::uint64_t total) {
        progress.update(done, std::max(done, total));
    });
    progress.clear();
    std::string rest;
    if (summary.left_out) rest += fmt::format("; {} of the release are not in {}", summary.left_out, o.input);
    if (summary.added) rest += fmt::format("; {} of {} are not of this release", summary.added, o.input);
    print_line(fmt::format("{}: {}, {} tensors in {} files{}", o.output, human_bytes(summary.bytes),
                           summary.tensors, summary.files, rest));
}

// Options that say what is in a GGUF file: what else is written has it from INPUT.
constexpr const char* kOfGguf[] = {"--recipe",    "--imatrix",       "--experts",
                                   "--dense",     "--embeddings",    "--type",
                                   "--leave-out", "--engram-output", "--draft-model"};

void refuse_options_of_gguf(const CLI::App& command, const std::string& writer) {
    for (const char* name : kOfGguf)
        if (command.count(name) > 0)
            wrong_usage(
                fmt::format("{} says how a GGUF file is written, and {} writes none; leave out one of them",
                            name, writer));
}

void run_convert(const ConvertOptions& o, const CLI::App& command) {
    if (o.pack) refuse_options_of_gguf(command, "--pack");
    if (o.to == "release") refuse_options_of_gguf(command, "--to release");
    if (o.pack) return convert_to_pack(o.input, o.engram, o.output, o.force);
    if (o.output.empty())
        wrong_usage(o.to == "release" ? "no OUTPUT: name the folder to write"
                                      : "no OUTPUT: name the file to write");
    if (o.to == "release") return to_release(o);
    CommandFiles{{o.input, o.draft_model}, {o.imatrix, o.engram}, {o.output, o.engram_output}}.check();
    check_new_file(o.output, o.force);
    if (!o.engram_output.empty()) check_new_file(o.engram_output, o.force);
    auto checkpoint = Checkpoint::open(o.input, o.engram);
    cachalot::ConvertOptions options;
    options.types = type_options(o);
    options.engram = o.engram_output;
    const auto left_out = [&](const char* part) {
        return std::ranges::find(o.leave_out, part) != o.leave_out.end();
    };
    options.leave_out_drafter = left_out("drafter");
    options.leave_out_vision = left_out("vision");
    std::shared_ptr<const Checkpoint> drafter;
    if (!o.draft_model.empty()) {
        if (options.leave_out_drafter)
            wrong_usage("--draft-model puts a drafter in, and --leave-out drafter leaves it out");
        drafter = open_drafter(o.draft_model, *checkpoint);
        options.drafter = drafter.get();
    }
    options.threads = o.threads;
    options.replace_unfinished = o.force;
    std::optional<ImportanceMatrix> importance;
    if (!o.imatrix.empty()) {
        importance = ImportanceMatrix::load(o.imatrix);
        options.importance = &*importance;
        options.importance_name = std::filesystem::path(o.imatrix).filename().string();
    }
    Progress progress("converting", "bytes", true);
    auto summary = convert(*checkpoint, o.output, options,
                           [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); });
    progress.clear();
    if (summary.resumed)
        say("went on from {}, which an earlier attempt had written", human_bytes(summary.resumed));
    if (summary.unmeasured)
        say("{} matrices are not in {}; they were rounded without weights", summary.unmeasured, o.imatrix);
    print_line(
        fmt::format("{}: {}, {} tensors, {}", o.output, human_bytes(summary.bytes), summary.tensors,
                    summary.changed ? fmt::format("{} of them rounded", summary.changed) : "none rounded"));
}

}  // namespace

void add_convert(CLI::App& app) {
    auto o = std::make_shared<ConvertOptions>();
    auto* command = app.add_subcommand(
        "convert", "Writes a model as one GGUF file, with chosen types, or back as a release");
    command
        ->add_option("input,-m,--model", o->input,
                     "release directory or GGUF file; also one that has a drafter only, which becomes a file "
                     "for --draft-model")
        ->required()
        ->type_name("INPUT")
        ->option_text("INPUT");  // which stands in two lists; the usage says that it is required
    command->add_option("output,-o,--output", o->output, "the file to write; with --to release, the folder")
        ->type_name("OUTPUT");
    command->add_option("--engram", o->engram, "the file with INPUT's Engram tables, if INPUT has them not")
        ->type_name("FILE");
    command
        ->add_option("--engram-output", o->engram_output,
                     "write the Engram tables (V4.1), the largest part, to this file and not to OUTPUT")
        ->type_name("FILE");
    command
        ->add_option(
            "--draft-model", o->draft_model,
            "put this drafter (folder or GGUF file) into OUTPUT, in place of the one that INPUT may have")
        ->type_name("PATH");
    command
        ->add_option(
            "--leave-out", o->leave_out,
            "drafter or vision: do not write this part, which other programs may refuse; can be repeated")
        ->allow_extra_args(false)
        ->check(one_of({"drafter", "vision"}))
        ->type_name("PART");
    auto* pack = command->add_flag(
        "--pack", o->pack,
        "write the routed experts of the layers only (not of a drafter), as they are and each in one piece, "
        "for --expert-cache; without OUTPUT beside the model, where they are found");
    command
        ->add_option("--recipe", o->recipe, "types for all tensors: mxfp4, q4, q3, q2-q4 or q2 (see below)")
        ->check(
            one_of(std::vector<std::string>(std::begin(TypePlan::kRecipes), std::end(TypePlan::kRecipes))))
        ->type_name("NAME");
    command
        ->add_option("--imatrix", o->imatrix,
                     "weights from `cachalot imatrix`: errors go where they matter least")
        ->type_name("FILE");
    command->add_option("--experts", o->experts, "type of the routed experts")
        ->check(is_type())
        ->type_name("TYPE");
    command->add_option("--dense", o->dense, "type of attention projections and shared experts")
        ->check(is_type())
        ->type_name("TYPE");
    command->add_option("--embeddings", o->embeddings, "type of token embedding and output head")
        ->check(is_type())
        ->type_name("TYPE");
    command->add_option("--type", o->types, "type of the tensors whose whole name matches, can be repeated")
        ->allow_extra_args(false)  // INPUT and OUTPUT may follow
        ->check(checked_by([](const std::string& text) { parse_override(text); }))
        ->type_name("REGEX=TYPE");
    command
        ->add_option("--to", o->to,
                     "gguf, or release: what INPUT, written with --dense f8_e4m3, was made from")
        ->excludes(pack)
        ->check(one_of({"gguf", "release"}))
        ->capture_default_str();
    command->add_flag("--force", o->force,
                      "replace OUTPUT if it exists, also one that another command has begun");
    command->add_option("-t,--threads", o->threads, "threads; 0: one per core")
        ->check(CLI::Range(0, 1024))
        ->type_name("N");
    command->footer(fmt::format(
        "TYPE is one of {},\n"
        "or f8_e4m3 to keep FP8 matrices (only Cachalot reads them). Without a type nothing is lost:\n"
        "FP4 experts become MXFP4 bit for bit, FP8 matrices BF16, the rest stays. Router, compressors and\n"
        "norms are kept unless --type names them.\n\n"
        "Recipes, with the size of V4 Flash; attention, shared experts and head are Q8_0 in all, and the\n"
        "experts of a drafter MXFP4, as released:\n"
        "  mxfp4   the experts as released, 156 GB\n"
        "  q4      Q4_K, 165 GB: larger than mxfp4 and no better, for programs without MXFP4\n"
        "  q3      IQ3_XXS and Q3_K, 119 GB: for 128 GB of memory\n"
        "  q2-q4   q2, but the last six layers Q4_K, 97 GB\n"
        "  q2      IQ2_XXS and Q2_K, 87 GB; needs --imatrix to be good\n\n"
        "Interrupted work is in OUTPUT.partial: the same command goes on where it stopped.\n"
        "Example: cachalot convert release/ m.gguf --recipe q2 --imatrix flash.imatrix.gguf \\\n"
        "             --type 'blk\\.(3[7-9]|4[0-2])\\.ffn_.*_exps\\.weight=q4_K'",
        quantizable_types()));
    command->callback([o, command] {
        o->input = find_model(o->input);
        if (!o->draft_model.empty()) o->draft_model = find_model(o->draft_model);
        run_convert(*o, *command);
    });
}

}  // namespace cachalot::cli
