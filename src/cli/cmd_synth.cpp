// cachalot synth: a model of true shape with random weights, for measuring.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "cli/command.h"
#include "cli/option_value.h"
#include "cli/outputs.h"
#include "model/synthetic_release.h"

namespace cachalot::cli {
namespace {

struct SynthOptions {
    std::string output, like = "flash", layers, engram, experts_type = "mxfp4", gate_up, down,
                        dense_type = "q8_0";
    std::vector<std::string> kinds;
    int experts = 0, vocab = 0, threads = 0;  // 0: as in the real model
    int hash_layers = -1;                     // -1: as in the real model
    double router_skew = 0;
    std::uint64_t seed = 1;
    bool force = false, release = false;
};

// Of a name that ratio_of_kind() knows.
int parse_kind(const std::string& name) { return ratio_of_kind(name).value(); }

constexpr const char* kEveryKind = "kinds";

// Of --layers; 0: as many as the real model has. Throws Error for anything else.
int parse_layers(const std::string& text, const Config& config) {
    if (text.empty()) return 0;
    if (text == kEveryKind) return layers_of_every_kind(config);
    int layers = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layers);
    if (error != std::errc() || end != text.data() + text.size() || layers < 1 || layers > kMaxLayers)
        fail("'{}' is not in the range from 1 to {}, nor \"{}\"", text, kMaxLayers, kEveryKind);
    return layers;
}

// The size of what was written, of which holes take no space.
std::string size_text(const SyntheticSummary& summary) {
    if (!summary.holes) return human_bytes(summary.bytes);
    return fmt::format("{} ({} of them holes that read as zeros)", human_bytes(summary.bytes),
                       human_bytes(summary.holes));
}

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
    const int layers = parse_layers(o.layers, config);
    if (!o.kinds.empty()) {
        std::vector<int> ratios;
        for (const auto& name : o.kinds) ratios.push_back(parse_kind(name));
        if (layers && static_cast<std::size_t>(layers) != ratios.size())
            wrong_usage(
                fmt::format("--layers {} and {} --kinds contradict each other", o.layers, ratios.size()));
        set_layers(config, ratios);
    } else if (layers) {
        set_layers(config, layers);
    }
    if (o.experts) config.experts = o.experts;
    if (o.hash_layers >= 0)
        for (int l = 0; l < config.layers; ++l)
            config.layer_shapes[static_cast<std::size_t>(l)].hash = l < o.hash_layers;
    if (o.vocab) config.vocab_size = o.vocab;
    const bool full = o.engram == "full", small = o.engram.empty() || o.engram == "small";
    if (config.is_v41() && config.engram.present()) {
        // The real tables are larger than all but the experts.
        constexpr std::int64_t kSmallEngram = 16'000;
        EngramConfig& engram = config.engram;
        engram.classes = std::min(engram.classes, config.vocab_size);
        const std::int64_t row = static_cast<std::int64_t>(engram.layers.size()) * engram.rows_per_token() *
                                 (engram.row_size + engram.row_size / kEngramBlock);
        const std::int64_t rows = full ? engram.primes.front()
                                  : small
                                      ? kSmallEngram
                                      : static_cast<std::int64_t>(parse_bytes(o.engram, "--engram")) / row;
        if (rows < 2) fail("--engram {}: tables have rows of {} bytes at least", o.engram, 2 * row);
        set_engram(config, std::min(engram.primes.front(), rows));
    }

    if (o.release) {
        Progress progress("writing", "bytes", true);
        auto summary = write_synthetic_release(
            config, o.seed, o.output,
            [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); }, kReleaseFileBytes,
            full);
        progress.clear();
        print_line(fmt::format("{}: {}, {} tensors in the layout of a release, random weights with seed {}",
                               o.output, size_text(summary), summary.tensors, o.seed));
        return;
    }

    SyntheticOptions options;
    options.gate_up = parse_dtype(o.gate_up.empty() ? o.experts_type : o.gate_up);
    options.down = parse_dtype(o.down.empty() ? o.experts_type : o.down);
    options.dense = parse_dtype(o.dense_type);
    options.router_skew = o.router_skew;
    options.seed = o.seed;
    options.threads = o.threads;
    options.zero_tables = full;
    Progress progress("writing", "bytes", true);
    auto summary = write_synthetic(config, options, o.output, [&](std::uint64_t done, std::uint64_t total) {
        progress.update(done, total);
    });
    progress.clear();
    print_line(fmt::format("{}: {}, {} tensors, random weights with seed {}", o.output, size_text(summary),
                           summary.tensors, o.seed));
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
    command
        ->add_option("--layers", o->layers,
                     "only the first N layers, or more than the real model has. Of V4.1 N layers in the "
                     "proportions of the real model, so that each has its sources. kinds: as few as hold "
                     "every kind of layer (of V4.1 8: two with their window only, ratio 2 and ratio 1 with "
                     "sources, readers, choosers and candidates, two Engram tables; of V4 4)")
        ->check(checked_by([](const std::string& text) { parse_layers(text, {}); }))
        ->type_name("LAYERS");
    command->add_option("--kinds", o->kinds, "the kind of every layer: window, csa or hca")
        ->delimiter(',')
        ->check(one_of({"window", "csa", "hca"}))
        ->type_name("KIND,..");
    command
        ->add_option("--engram", o->engram,
                     "tables of V4.1: small (a thousandth of their rows, as usual), a size (10GB) that they "
                     "take about, or full: all their rows (203 GB), which are zeros and take no space where "
                     "files can have holes")
        ->check(checked_by([](const std::string& text) {
            if (text != "small" && text != "full") parse_bytes(text, "--engram");
        }))
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
