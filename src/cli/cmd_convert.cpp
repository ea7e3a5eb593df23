// cachalot convert: a release or a GGUF file to one GGUF file.
#include "base/error.h"
#include "cli/command.h"
#include "cli/convert_pack.h"
#include "model/convert.h"

namespace cachalot::cli {
namespace {

struct ConvertOptions {
    std::string input, output, experts, dense, embeddings;
    bool force = false, pack = false;
    int threads = 0;
};

void run_convert(const ConvertOptions& o) {
    if (o.pack) return convert_to_pack(o.input, o.output, o.force);
    if (o.output.empty()) fail("no OUTPUT to write to");
    if (!o.force && std::filesystem::exists(o.output)) fail("{} exists; --force replaces it", o.output);
    auto type = [](const std::string& name) {
        return name.empty() ? std::nullopt : std::optional(parse_dtype(name));
    };
    auto checkpoint = Checkpoint::open(o.input);
    Progress progress("converting", "bytes", true);
    auto summary =
        convert(*checkpoint, o.output, {type(o.experts), type(o.dense), type(o.embeddings), o.threads},
                [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); });
    progress.clear();
    print_line(
        fmt::format("{}: {}, {} tensors, {}", o.output, human_bytes(summary.bytes), summary.tensors,
                    summary.changed ? fmt::format("{} of them rounded", summary.changed) : "none rounded"));
}

}  // namespace

void add_convert(CLI::App& app) {
    auto o = std::make_shared<ConvertOptions>();
    auto* command = app.add_subcommand("convert", "Writes a model as one GGUF file, with chosen types");
    command->add_option("input,-m,--model", o->input, "release directory or GGUF file")
        ->required()
        ->type_name("INPUT");
    command->add_option("output,-o,--output", o->output, "the file to write")->type_name("OUTPUT");
    command->add_flag("--pack", o->pack,
                      "write the routed experts only, as they are and each in one piece, for --expert-cache; "
                      "without OUTPUT beside the model, where they are found");
    command->add_option("--experts", o->experts, "type of the routed experts")->type_name("TYPE");
    command->add_option("--dense", o->dense, "type of attention projections and shared experts")
        ->type_name("TYPE");
    command->add_option("--embeddings", o->embeddings, "type of token embedding and output head")
        ->type_name("TYPE");
    command->add_flag("--force", o->force, "replace OUTPUT if it exists");
    command->add_option("-t,--threads", o->threads, "threads; 0: one per core")
        ->check(CLI::Range(0, 1024))
        ->type_name("N");
    command->footer(
        "TYPE is f32, f16, bf16, q8_0 or mxfp4. Without a type nothing is lost: FP4 experts become MXFP4 "
        "bit\n"
        "for bit, FP8 matrices BF16, the rest stays. Router, compressors, norms are always kept.");
    command->callback([o] { run_convert(*o); });
}

}  // namespace cachalot::cli
