// cachalot synth: a model of true shape with random weights, for measuring.
#include <algorithm>

#include "base/error.h"
#include "cli/command.h"
#include "cli/option_value.h"
#include "cli/outputs.h"
#include "model/synthetic_release.h"

namespace cachalot::cli {
namespace {

struct SynthOptions {
    std::string output, like = "flash", engram, experts_type = "mxfp4", gate_up, down, dense_type = "q8_0";
    std::vector<std::string> kinds;
    int layers = 0, experts = 0, vocab = 0, threads = 0;  // 0: as in the real model
    int hash_layers = -1;                                 // -1: as in the real model
    double router_skew = 0;
    std::uint64_t seed = 1;
    bool force = false, release = false;
};

// Of a name that ratio_of_kind() knows.
int parse_kind(const std::string& name) { return ratio_of_kind(name).value(); }

void synth(const SynthOptions& o) {
    if (!o.release)
        check_new_file(o.output, o.force);
    else if (!o.force || !std::filesystem::is_directory(o.output))
        check_new_folder(o.output);
    Config config = known_config(o.like);
    if (!o.kinds.empty() && config.is_v41())
        wrong_usage("--kinds names layers of V4; those of V4.1 follow from their number (--layers)");
    if (o.hash_layers > 0 && config.is_v41()) wrong_usage("--hash-layers: V4.1 has no such layers");
    if (!o.engram.empty() && !config.is_v41()) wrong_usage("--engram: only V4.1 has such tables");
    if (!o.kinds.empty()) {
        std::vector<int> ratios;
        for (const auto& name : o.kinds) ratios.push_back(parse_kind(name));
        if (o.layers && static_cast<std::size_t>(o.layers) != ratios.size())
            wrong_usage(
                fmt::format("--layers {} and {} --kinds contradict each other", o.layers, ratios.size()));
        set_layers(config, ratios);
    } else if (o.layers) {
        set_layers(config, o.layers);
    }
    if (o.experts) config.experts = o.experts;
    if (o.hash_layers >= 0)
        for (int l = 0; l < config.layers; ++l)
            config.layer_shapes[static_cast<std::size_t>(l)].hash = l < o.hash_layers;
    if (o.vocab) config.vocab_size = o.vocab;
    if (config.is_v41() && config.engram.present()) {
        // The real tables are larger than everything else.
        constexpr std::int64_t kSmallEngram = 16'000;
        EngramConfig& engram = config.engram;
        engram.classes = std::min(engram.classes, config.vocab_size);
        set_engram(config, o.engram == "full" ? engram.primes.front()
                                              : std::min(engram.primes.front(), kSmallEngram));
    }

    if (o.release) {
        Progress progress("writing", "bytes", true);
        auto summary = write_synthetic_release(
            config, o.seed, o.output,
            [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); });
        progress.clear();
        print_line(fmt::format("{}: {}, {} tensors in the layout of a release, random weights with seed {}",
                               o.output, human_bytes(summary.bytes), summary.tensors, o.seed));
        return;
    }

    SyntheticOptions options;
    options.gate_up = parse_dtype(o.gate_up.empty() ? o.experts_type : o.gate_up);
    options.down = parse_dtype(o.down.empty() ? o.experts_type : o.down);
    options.dense = parse_dtype(o.dense_type);
    options.router_skew = o.router_skew;
    options.seed = o.seed;
    options.threads = o.threads;
    Progress progress("writing", "bytes", true);
    auto summary = write_synthetic(config, options, o.output, [&](std::uint64_t done, std::uint64_t total) {
        progress.update(done, total);
    });
    progress.clear();
    print_line(fmt::format("{}: {}, {} tensors, random weights with seed {}", o.output,
                           human_bytes(summary.bytes), summary.tensors, o.seed));
}

}  // namespace

void add_synth(CLI::App& app) {
    auto o = std::make_shared<SynthOptions>();
    const auto is_type = checked_by([](const std::string& name) { parse_dtype(name); });
    auto* command = app.add_subcommand(
        "synth", "Writes a model of true width with random weights, for measuring speed and memory");
    command->add_option("output,-o,--output", o->output, "the GGUF file to write; with --release, the folder")
        ->required()
        ->type_name("OUT.gguf")
        ->option_text("OUT.gguf");  // which stands in two lists; the usage says that it is required
    command->add_flag(
        "--release", o->release,
        "in the layout of DeepSeek's releases, FP8 and FP4 in safetensors: to measure `convert` with");
    command
        ->add_option("--like", o->like,
                     "shape: flash, pro, v41-flash, or tiny and v41-tiny (a few megabytes, for tests)")
        ->check(one_of({"flash", "pro", "v41-flash", "tiny", "v41-tiny"}))
        ->capture_default_str();
    command->add_option("--layers", o->layers, "only the first N layers, or more than the real model has")
        ->check(CLI::Range(1, kMaxLayers))
        ->type_name("N");
    command->add_option("--kinds", o->kinds, "the kind of every layer: window, csa or hca")
        ->delimiter(',')
        ->check(one_of({"window", "csa", "hca"}))
        ->type_name("KIND,..");
    command
        ->add_option("--engram", o->engram,
                     "tables of V4.1: small (a thousandth of their rows, as usual), or full (203 GB)")
        ->check(one_of({"small", "full"}))
        ->type_name("SIZE");
    command->add_option("--experts", o->experts, "experts of a layer")
        ->check(CLI::Range(1, 4096))
        ->type_name("N");
    command
        ->add_option("--hash-layers", o->hash_layers,
                     "the first N layers are routed by a table, by the token")
        ->check(CLI::Range(0, kMaxLayers))
        ->type_name("N");
    command
        ->add_option("--router-skew", o->router_skew,
                     "how unevenly experts are chosen: the standard deviation of the routers' biases. With "
                     "0.15 a tenth of the experts gets two fifths of the choices, about as in real models")
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str()
        ->type_name("S");
    command->add_option("--experts-type", o->experts_type, "type of the routed experts")
        ->check(is_type)
        ->capture_default_str()
        ->type_name("TYPE");
    command->add_option("--gate-up", o->gate_up, "type of their gate and up matrices")
        ->check(is_type)
        ->type_name("TYPE");
    command->add_option("--down", o->down, "type of their down matrices")->check(is_type)->type_name("TYPE");
    command
        ->add_option("--dense-type", o->dense_type,
                     "type of attention projections, shared experts, embeddings")
        ->check(is_type)
        ->capture_default_str()
        ->type_name("TYPE");
    command->add_option("--seed", o->seed, "of the random numbers; the same seed writes the same file")
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--vocab", o->vocab, "tokens")->check(CLI::Range(1, 1 << 20))->group("");
    command->add_flag("--force", o->force, "replace OUT.gguf if it exists");
    command->add_option("-t,--threads", o->threads, "threads; 0: one per core")
        ->check(CLI::Range(0, 1024))
        ->type_name("N");
    command->footer("TYPE is mxfp4, q4_k, q2_k, iq2_xxs, q8_0, bf16, f16 or f32.");
    command->callback([o] { synth(*o); });
}

}  // namespace cachalot::cli
