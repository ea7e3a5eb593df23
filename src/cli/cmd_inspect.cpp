// cachalot inspect: what is in a file, without computing anything.
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "file/gguf.h"
#include "file/safetensors.h"
#include "model/checkpoint_files.h"
#include "model/draft_model.h"
#include "model/engram_keys.h"
#include "model/foreign_folder.h"
#include "model/model_parts.h"
#include "text/visible_text.h"

namespace cachalot::cli {
namespace {

struct InspectOptions {
    std::string path;
    bool tensors = false, metadata = false, json = false;
};

struct TypeSum {
    std::int64_t tensors = 0;
    std::uint64_t bytes = 0;
};

// What V4.1 adds.
void add_v41_json(nlohmann::ordered_json& json, const Config& c) {
    auto kv = nlohmann::ordered_json::array(), index = kv, ratios = kv;
    for (const auto& shape : c.layer_shapes) {
        ratios.push_back(shape.ratio);
        kv.push_back(shape.kv_source);
        index.push_back(shape.index_source);
    }
    json["compress_ratios"] = ratios;
    json["kv_sources"] = kv;
    json["index_sources"] = index;
    json["candidates"] = {{"blocks", c.candidate_blocks}, {"block_size", c.candidate_block_size}};
    json["engram"] = {{"layers", c.engram.layers},
                      {"rows", c.engram.rows},
                      {"row_size", c.engram.row_size},
                      {"rows_per_token", c.engram.present() ? c.engram.rows_per_token() : 0}};
    json["dspark"] = {{"stages", c.dspark.stages}, {"block_size", c.dspark.block_size}};
    json["vision"] = {{"layers", c.vision.layers}, {"hidden_size", c.vision.hidden_size}};
}

nlohmann::ordered_json config_json(const Config& c) {
    auto kinds = nlohmann::ordered_json::array();
    for (const auto& shape : c.layer_shapes) kinds.push_back(kind_name(shape));
    nlohmann::ordered_json json = {{"name", c.name},
                                   {"architecture", c.is_v41() ? "v41" : "v4"},
                                   {"vocab_size", c.vocab_size},
                                   {"hidden_size", c.hidden_size},
                                   {"layers", c.layers},
                                   {"layer_kinds", kinds},
                                   {"context_length", c.context_length},
                                   {"heads", c.heads},
                                   {"head_dim", c.head_dim},
                                   {"experts", c.experts},
                                   {"experts_per_token", c.experts_per_token},
                                   {"hash_layers", c.hash_layers()}};
    if (c.is_v41()) add_v41_json(json, c);
    return json;
}

// The layers that keep rows, with those that read them: "ratio 2: 2 (2-7), 8 (8-13); ratio 1: 20 (20-39)".
std::string caches_text(const Config& c) {
    std::string text;
    int ratio = 0;
    for (int l = 0; l < c.layers; ++l) {
        if (c.shape(l).kv_source != l) continue;
        int last = l;
        while (last + 1 < c.layers && c.shape(last + 1).kv_source == l) ++last;
        if (c.shape(l).ratio != ratio)
            text += fmt::format("{}ratio {}: ", text.empty() ? "" : "; ", c.shape(l).ratio);
        else
            text += ", ";
        ratio = c.shape(l).ratio;
        text += fmt::format("{} ({}-{})", l, l, last);
    }
    return text;
}

void print_v41(const Config& c) {
    const auto indexers = std::count_if(c.layer_shapes.begin(), c.layer_shapes.end(),
                                        [](const LayerShape& s) { return s.indexer; });
    if (const auto caches = caches_text(c); !caches.empty())
        print_line(fmt::format("rows      kept by layers (and read by) {}; {} layers choose among them",
                               caches, indexers));
    if (c.candidate_blocks)
        print_line(fmt::format("          the last of them among {} blocks of {} rows", c.candidate_blocks,
                               c.candidate_block_size));
    for (std::size_t i = 0; i < c.engram.layers.size(); ++i)
        print_line(fmt::format("engram    layer {}: {} rows of {}, {} for a token", c.engram.layers[i],
                               c.engram.rows[i], c.engram.row_size, c.engram.rows_per_token()));
    if (c.vision.layers)
        print_line(
            fmt::format("vision    {} layers, width {}; not used", c.vision.layers, c.vision.hidden_size));
}

void print_config(const Config& c) {
    std::map<std::string_view, int> kinds;
    for (const auto& shape : c.layer_shapes) ++kinds[kind_name(shape)];
    print_line(fmt::format("model     {}", c.name.empty() ? "(unnamed)" : visible_line(c.name)));
    if (c.is_v41())
        print_line(
            fmt::format("layers    {}: {} window, {} CSA (V4.1)", c.layers, kinds["window"], kinds["csa"]));
    else
        print_line(fmt::format("layers    {}: {} window, {} CSA, {} HCA; the first {} route by token id",
                               c.layers, kinds["window"], kinds["csa"], kinds["hca"], c.hash_layers()));
    print_line(fmt::format("width     {}, {} heads of {}, window {}, indexer top-k {}", c.hidden_size,
                           c.heads, c.head_dim, c.sliding_window, c.index_top_k));
    print_line(fmt::format("experts   {}, hidden size {}, {} active, {} shared", c.experts,
                           c.expert_hidden_size, c.experts_per_token, c.shared_experts));
    print_line(fmt::format("context   {} tokens, vocabulary {}", c.context_length, c.vocab_size));
    if (c.is_v41()) print_v41(c);
}

// What the configuration says of the drafter; empty if nothing.
std::string drafter_text(const Config& c) {
    if (c.drafter() == DrafterKind::none) return {};
    const Config stages = drafter_stages(c);
    const std::string experts = fmt::format("{} experts, {} active, {} shared", stages.experts,
                                            stages.experts_per_token, stages.shared_experts);
    if (c.drafter() == DrafterKind::mtp)
        return fmt::format("MTP, a block that predicts the token after the next; drafts up to {}; {}",
                           kMtpDepth, experts);
    const DsparkConfig& d = c.dspark;
    return fmt::format("DSpark, {} stages, blocks of {}, noise token {}; reads layers {}; {}", d.stages,
                       d.block_size, d.noise_token, fmt::join(d.target_layers, ", "), experts);
}

nlohmann::ordered_json drafter_json(const Config& c, const PartSum& sum) {
    const Config stages = drafter_stages(c);
    nlohmann::ordered_json json = {{"kind", c.mtp ? "mtp" : "dspark"},
                                   {"stages", stages.layers},
                                   {"experts", stages.experts},
                                   {"experts_per_token", stages.experts_per_token}};
    if (const DsparkConfig& d = c.dspark; d.present()) {
        json["block_size"] = d.block_size;
        json["noise_token"] = d.noise_token;
        json["target_layers"] = d.target_layers;
        json["markov_rank"] = d.markov_rank;
    }
    json["tensors"] = sum.tensors;
    json["bytes"] = sum.bytes;
    return json;
}

// A file that is open, and what it is made of.
struct Inspected {
    std::filesystem::path path;
    std::unique_ptr<TensorFile> file;
    const Gguf* gguf = nullptr;    // the file, if it is one
    std::optional<Config> config;  // none: it cannot be run, as `why_not` says
    std::string why_not = "a file of tensors only";
    std::uint64_t bytes = 0;
    std::map<std::string, TypeSum> types;
    PartSums parts;

    const PartSum& sum(ModelPart part) const { return parts[static_cast<std::size_t>(part)]; }
    bool is_drafter_only() const {
        return config && sum(ModelPart::backbone).tensors == 0 && sum(ModelPart::drafter).tensors > 0;
    }
};

// Of a model that has all that the drafter reads.
int least_layers(const Config& c) {
    int layers = 1;
    for (const int layer : c.dspark.target_layers) layers = std::max(layers, layer + 1);
    return layers;
}

void print_drafter(const Inspected& i) {
    const PartSum& sum = i.sum(ModelPart::drafter);
    const std::string text = i.config ? drafter_text(*i.config) : "";
    const std::string size = human_bytes(sum.bytes);
    if (!text.empty())
        print_line(fmt::format("drafter   {}; {}", text, sum.tensors ? size : "not in this file"));
    else if (sum.tensors)
        print_line(fmt::format("drafter   of an unknown kind, {}; not used", size));
}

Inspected open(const std::filesystem::path& path) {
    Inspected opened{.path = path};
    const bool release = checkpoint_kind(path) == CheckpointKind::release;
    if (release) check_release_folder(path);
    if (release || path.extension() == ".safetensors" || path.extension() == ".json") {
        opened.file = std::make_unique<Safetensors>(path);
    } else {
        auto file = std::make_unique<Gguf>(path);
        opened.gguf = file.get();
        opened.file = std::move(file);
    }
    const auto type = opened.gguf ? opened.gguf->metadata().get_or<std::string_view>("general.type", "") : "";
    try {  // a file of another architecture can be looked at, too
        if (type == kEngramFile) fail("it is the Engram tables of a model, which --engram takes");
        if (opened.gguf) opened.config = config_from_gguf(*opened.gguf);
        if (release) opened.config = read_config(path);
    } catch (const Error& e) {
        opened.why_not = e.what();
    }
    for (const auto& t : opened.file->tensors()) {
        auto& sum = opened.types[t.type];
        ++sum.tensors;
        sum.bytes += t.view.data.size();
    }
    for (const auto& f : opened.file->files()) opened.bytes += f.size();
    opened.parts = part_sums(opened.file->tensors());
    return opened;
}

constexpr const char* kDrafterOnly = "a drafter without its model, for --draft-model";

nlohmann::ordered_json contents_json(const Inspected& i) {
    nlohmann::ordered_json result = {
        {"path", i.path.string()}, {"files", i.file->files().size()}, {"bytes", i.bytes}};
    if (i.config)
        result["config"] = config_json(*i.config);
    else
        result["not_runnable"] = i.why_not;
    if (i.config && i.config->drafter() != DrafterKind::none)
        result["drafter"] = drafter_json(*i.config, i.sum(ModelPart::drafter));
    if (i.is_drafter_only()) result["not_runnable"] = kDrafterOnly;
    for (int part = 0; part < kModelParts; ++part)
        if (const PartSum& sum = i.parts[static_cast<std::size_t>(part)]; sum.tensors)
            result["parts"][std::string(part_name(static_cast<ModelPart>(part)))] = {{"tensors", sum.tensors},
                                                                                     {"bytes", sum.bytes}};
    for (const auto& [type, sum] : i.types)
        result["types"][type] = {{"tensors", sum.tensors}, {"bytes", sum.bytes}};
    for (const auto& t : i.file->tensors())
        result["tensors"].push_back({{"name", t.view.name},
                                     {"type", t.type},
                                     {"shape", t.view.shape},
                                     {"file", t.file},
                                     {"offset", t.offset},
                                     {"bytes", t.view.data.size()}});
    if (i.gguf)
        for (const auto& v : i.gguf->metadata().values()) result["metadata"][v.key] = value_text(v);
    return result;
}

void print_sums(const Inspected& i) {
    std::uint64_t total = 0;
    for (const auto& [type, sum] : i.types) total += sum.bytes;
    print_line(fmt::format("tensors   {}, {}", i.file->tensors().size(), human_bytes(total)));
    if (i.parts[0].tensors != std::ssize(i.file->tensors()))
        for (int part = 0; part < kModelParts; ++part)
            if (const PartSum& sum = i.parts[static_cast<std::size_t>(part)]; sum.tensors)
                print_line(fmt::format("  {:<14} {:>5}  {:>12}", part_name(static_cast<ModelPart>(part)),
                                       sum.tensors, human_bytes(sum.bytes)));
    for (const auto& [type, sum] : i.types)
        print_line(
            fmt::format("  {:<12} {:>7}  {:>12}", visible_line(type), sum.tensors, human_bytes(sum.bytes)));
}

void inspect(const InspectOptions& o) {
    const Inspected i = open(find_model(o.path));
    if (o.json)
        return print_line(contents_json(i).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    print_line(fmt::format("{}: {} {}, {}", i.path.string(), i.file->files().size(),
                           i.file->files().size() == 1 ? "file" : "files", human_bytes(i.bytes)));
    if (i.is_drafter_only())
        print_line(fmt::format("cannot be run: {}", kDrafterOnly));
    else if (i.config)
        print_config(*i.config);
    else
        print_line("cannot be run: " + i.why_not);
    print_drafter(i);
    if (i.is_drafter_only())
        print_line(fmt::format("fits      models of {} layers and more, width {}, heads of {}, vocabulary {}",
                               least_layers(*i.config), i.config->hidden_size, i.config->head_dim,
                               i.config->vocab_size));
    print_sums(i);
    if (o.metadata && i.gguf)
        for (const auto& v : i.gguf->metadata().values())
            print_line(fmt::format("  {:<48} {:<14} {}", visible_line(v.key), type_text(v), value_text(v)));
    if (o.tensors)
        for (const auto& t : i.file->tensors())
            print_line(fmt::format("  {:<44} {:<10} {:<22} {:>12}", visible_line(t.view.name),
                                   visible_line(t.type), shape_text(t.view.shape),
                                   human_bytes(t.view.data.size())));
}

}  // namespace

void add_inspect(CLI::App& app) {
    auto o = std::make_shared<InspectOptions>();
    auto* command = app.add_subcommand("inspect", "What is in a model file: shape, types, metadata, tensors");
    command->add_option("path,-m,--model", o->path, "GGUF file, safetensors file or release directory")
        ->type_name("PATH");
    command->add_flag("--metadata", o->metadata, "list the metadata of a GGUF file");
    command->add_flag("--tensors", o->tensors, "list every tensor");
    command->add_flag("--json", o->json, "everything as JSON");
    command->callback([o] { inspect(*o); });
}

}  // namespace cachalot::cli
