// config.json of DeepSeek's releases.
//
// The keys are those of the releases; files that went through other tools may spell the rope settings
// differently (see read_rope). V4.1 has the text model's keys in an object of their own, and more of them
// (config_json_v41.cpp). Keys with one legal value may be absent, but if they are there they must have it:
// they change what the formulas mean.

#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/checked.h"
#include "base/error.h"
#include "file/json.h"
#include "file/mapped_file.h"
#include "model/config.h"
#include "model/config_json_v41.h"
#include "model/json_fields.h"

namespace cachalot {
namespace {

using nlohmann::json;

// The releases have rope_theta and compress_rope_theta beside a "rope_scaling" with the YaRN settings. Files
// written by newer tools gather both in "rope_parameters", either {"main": {...}, "compress": {...}} or one
// per kind ("rope_parameters", "compress_rope_parameters"), each with its own rope_theta.
RopeConfig read_rope(const JsonFields& top, std::string_view source) {
    const json* plain = top.object("rope_parameters");
    const json* compress = top.object("compress_rope_parameters");
    std::string plain_path = "rope_parameters.";
    std::string compress_path = "compress_rope_parameters.";
    if (plain && plain->contains("main")) {
        const JsonFields both(*plain, source, "rope_parameters.");
        plain = both.object("main");
        compress = both.object("compress");
        plain_path = "rope_parameters.main.";
        compress_path = "rope_parameters.compress.";
    }

    const auto theta = [&](std::string_view key, const json* nested, const std::string& path) {
        if (!nested || top.find(key)) return top.number(key);
        return JsonFields(*nested, source, path).number("rope_theta");
    };
    RopeConfig rope;
    rope.theta = theta("rope_theta", plain, plain_path);
    rope.compress_theta = theta("compress_rope_theta", compress, compress_path);

    const json* scaling = top.object("rope_scaling");
    if (scaling)
        compress_path = "rope_scaling.";
    else
        scaling = compress;
    if (!scaling) return rope;
    const JsonFields yarn(*scaling, source, compress_path);
    const auto type = yarn.text(yarn.find("rope_type") ? "rope_type" : "type");
    if (type == "default") return rope;
    if (type != "yarn") yarn.refuse("type", type, "\"yarn\"");
    rope.yarn_factor = yarn.number("factor");
    rope.yarn_original_context = yarn.integer<std::int64_t>("original_max_position_embeddings", 1,
                                                            std::numeric_limits<std::int64_t>::max());
    rope.yarn_beta_fast = yarn.number_or("beta_fast", rope.yarn_beta_fast);
    rope.yarn_beta_slow = yarn.number_or("beta_slow", rope.yarn_beta_slow);
    return rope;
}

std::vector<LayerShape> read_layer_shapes(const JsonFields& top, const Config& c, std::string_view source) {
    const json& list = top.get("compress_ratios");
    // The releases add one entry for each block of multi-token prediction, and for each stage of a drafter.
    if (!list.is_array() || std::cmp_less(list.size(), c.layers))
        top.refuse("compress_ratios", list, fmt::format("an entry for each of the {} layers", c.layers));
    std::vector<int> ratios;
    for (int layer = 0; layer < c.layers; ++layer)
        ratios.push_back(top.to_integer<int>("compress_ratios", list[static_cast<std::size_t>(layer)], 0,
                                             std::numeric_limits<int>::max()));
    if (c.is_v41()) top.only("num_hash_layers", 0);
    if (c.is_v41()) return v41_layers(read_v41_layers(top, std::move(ratios)), source);

    const int hash_layers = top.integer<int>("num_hash_layers", 0, c.layers);
    std::vector<LayerShape> shapes;
    for (int layer = 0; layer < c.layers; ++layer) {
        auto shape = v4_layer(layer, ratios[static_cast<std::size_t>(layer)]);
        if (!shape) top.refuse("compress_ratios", ratios[static_cast<std::size_t>(layer)], "0, 4 or 128");
        shape->hash = layer < hash_layers;
        shapes.push_back(*shape);
    }
    return shapes;
}

// The architecture may be named in the list only, if it is another one.
Architecture named_architecture(const JsonFields& top, std::string_view source) {
    if (!top.find("model_type")) {
        const json* names = top.find("architectures");
        if (names && names->is_array() && !names->empty() && names->front().is_string())
            if (const auto name = names->front().get<std::string>(); !name.starts_with("DeepseekV4"))
                parse_architecture(name, source);
    }
    return parse_architecture(top.text("model_type"), source);
}

// How the matrices are stored, which decides how they are multiplied.
void read_quantization(const JsonFields& top, std::string_view source, Config& c) {
    const json* quantization = top.object("quantization_config");
    if (!quantization) return;
    const JsonFields fields(*quantization, source, "quantization_config.");
    fields.only("quant_method", "fp8");
    fields.only("fmt", "e4m3");
    fields.only("scale_fmt", "ue8m0");
    if (!c.is_v41()) return fields.only("weight_block_size", {128, 128});
    fields.only("expert_dtype", "fp4");
    const json* block = fields.find("weight_block_size");
    if (!block) return;
    if (*block != json{32, 32} && *block != json{128, 128})
        fields.refuse("weight_block_size", *block, "[32,32] or [128,128]");
    c.fp8_block = c.activation_group = block->front().get<int>();
}

// What the architectures have in common.
void read_text_model(const JsonFields& top, std::string_view source, Config& c) {
    top.only("num_key_value_heads", 1);
    top.only("scoring_func", "sqrtsoftplus");
    top.only("topk_method", "noaux_tc");
    top.only("norm_topk_prob", true);
    top.only("tie_word_embeddings", false);
    top.only("hidden_act", "silu");
    top.only("attention_bias", false);
    top.only("hc_mult", kStreams);

    c.vocab_size = top.size("vocab_size");
    c.hidden_size = top.size("hidden_size");
    c.layers = top.integer<int>("num_hidden_layers", 1, kMaxLayers);
    c.context_length =
        top.integer<std::int64_t>("max_position_embeddings", 1, std::numeric_limits<std::int64_t>::max());

    c.heads = top.size("num_attention_heads");
    c.head_dim = top.size("head_dim");
    c.rope_dim = top.size("qk_rope_head_dim");
    c.q_lora_rank = top.size("q_lora_rank");
    c.output_groups = top.size("o_groups");
    c.output_lora_rank = top.size("o_lora_rank");
    c.sliding_window = top.size("sliding_window");
    c.layer_shapes = read_layer_shapes(top, c, source);
    c.rope = read_rope(top, source);
    c.norm_eps = top.number("rms_norm_eps");

    c.index_heads = top.size("index_n_heads");
    c.index_head_dim = top.size("index_head_dim");
    c.index_top_k = top.size("index_topk");

    c.experts = top.size("n_routed_experts");
    c.experts_per_token = top.size("num_experts_per_tok");
    c.shared_experts = top.size("n_shared_experts");
    c.expert_hidden_size = top.size("moe_intermediate_size");
    c.routed_scale = top.number("routed_scaling_factor");
    c.swiglu_limit.assign(static_cast<std::size_t>(c.layers), top.number("swiglu_limit"));
    c.swiglu_limit_shared = c.swiglu_limit;

    c.sinkhorn_iterations = top.size("hc_sinkhorn_iters");
    c.hyper_connection_eps = top.number("hc_eps");
}

// The keys dspark_* tell DSpark, whose stages are counted by the ratios, from the preview's block:
// num_nextn_predict_layers is 1 for both.
void read_v4_drafter(const JsonFields& top, Config& c) {
    const json& ratios = top.get("compress_ratios");
    read_dspark(top, static_cast<int>(ratios.size()) - c.layers, c);
    c.mtp = !c.dspark.present() && top.integer_or<int>("num_nextn_predict_layers", 0) == 1;
    if (c.drafter() == DrafterKind::none) return;
    for (std::size_t i = static_cast<std::size_t>(c.layers); i < ratios.size(); ++i)
        if (ratios[i] != 0)
            top.refuse("compress_ratios", ratios[i], "0 behind the layers, where the drafter's stages are");
}

// The text of the file in `directory`, with its path.
template <class Use>
auto with_config_text(const std::filesystem::path& directory, const Use& use) {
    const MappedFile file(directory / "config.json");
    constexpr std::size_t kMaxSize = 1 << 20;
    if (file.size() > kMaxSize)
        fail("{}: {} bytes are too many for a configuration", file.path(), file.size());
    return use(std::string_view(reinterpret_cast<const char*>(file.bytes().data()), file.size()),
               file.path());
}

}  // namespace

Config config_from_json(std::string_view text, std::string_view source) {
    const json root = parse_file_json(text, source);
    const JsonFields outer(root, source);
    Config c = config_of(named_architecture(outer, source));
    // V4.1 has the text model's keys in an object beside that of the vision model.
    const json* inner = c.is_v41() ? outer.object("text_config") : nullptr;
    const JsonFields top(inner ? *inner : root, source, inner ? "text_config." : "");
    c.name = std::filesystem::path(source).parent_path().filename().string();
    read_quantization(outer, source, c);
    read_text_model(top, source, c);
    if (c.is_v41())
        read_v41(top, outer, source, c);
    else
        read_v4_drafter(top, c);
    c.bos = outer.integer_or<std::int32_t>("bos_token_id", c.bos);
    c.eos = outer.integer_or<std::int32_t>("eos_token_id", c.eos);
    validate(c, source);
    return c;
}

Config read_config(const std::filesystem::path& directory) {
    return with_config_text(directory, config_from_json);
}

void check_architecture_of(const std::filesystem::path& directory) {
    with_config_text(directory, [](std::string_view text, std::string_view source) {
        const json root = parse_file_json(text, source);
        named_architecture(JsonFields(root, source), source);
    });
}

}  // namespace cachalot
