// The metadata of GGUF files with a DeepSeek V4 model, reading and writing.
//
// Two families of files are about: those of llama.cpp's converter and those of the ds4 project. They agree on
// the names but not on what is present, so what either leaves out is optional here:
//
//   vocab_size                   llama.cpp counts the tokens instead
//   expert_gating_func           absent in older files
//   swiglu_clamp_shexp           absent in ds4's; then the limit of the routed experts holds
//   swiglu_clamp_exp             an array with an entry per layer, or one number for all
//   compress_ratios              has extra entries for blocks of multi-token prediction
//   nextn_predict_layers         may announce such blocks without shipping them; block_count counts those
//                                that are there

#include <limits>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "file/gguf.h"
#include "file/gguf_writer.h"
#include "file/in_quotes.h"
#include "model/config.h"
#include "model/config_gguf_parts.h"
#include "model/config_gguf_v41.h"
#include "model/gguf_fields.h"

namespace cachalot {
namespace {

constexpr std::uint32_t kSqrtSoftplus = 4;  // expert_gating_func

// Without blocks of multi-token prediction.
int count_layers(const Gguf& file, const GgufFields& fields) {
    const int blocks = fields.size("block_count");
    if (blocks < 1 || blocks > kMaxLayers)
        fail("{}: key '{}' is {}, expected 1 to {}", file.source(), fields.key("block_count"), blocks,
             kMaxLayers);
    const int predictors = fields.get_or<std::int32_t>("nextn_predict_layers", 0);
    if (predictors < 0 || predictors >= blocks) return blocks;
    const int layers = blocks - predictors;
    return file.contains(fmt::format("blk.{}.nextn.eh_proj.weight", layers)) ? layers : blocks;
}

int count_vocabulary(const Gguf& file, const GgufFields& fields) {
    if (const auto size = fields.metadata.find<std::int32_t>(fields.key("vocab_size"))) return *size;
    const GgufValue* tokens = fields.metadata.value("tokenizer.ggml.tokens");
    if (!tokens || !tokens->is_array)
        fail("{}: both '{}' and 'tokenizer.ggml.tokens' are missing", file.source(),
             fields.key("vocab_size"));
    return checked_cast<int>(tokens->count, "the vocabulary size");
}

std::vector<LayerShape> read_layer_shapes(const Gguf& file, const GgufFields& fields, const Config& c) {
    auto ratios = fields.per_layer<std::int32_t>("attention.compress_ratios", c.layers);
    const int hash_layers =
        c.is_v41() ? fields.get_or<std::int32_t>("hash_layer_count", 0) : fields.size("hash_layer_count");
    if (hash_layers < 0 || hash_layers > (c.is_v41() ? 0 : c.layers))
        fail("{}: key '{}' is {}, expected 0 to {}", fields.source(), fields.key("hash_layer_count"),
             hash_layers, c.is_v41() ? 0 : c.layers);
    if (c.is_v41()) return v41_layers(read_v41_layers(file, fields, std::move(ratios)), fields.source());
    std::vector<LayerShape> shapes;
    for (const std::int32_t ratio : ratios) {
        const int layer = static_cast<int>(shapes.size());
        auto shape = v4_layer(layer, ratio);
        if (!shape)
            fail("{}: key '{}' holds {}, expected 0, 4 or 128", fields.source(),
                 fields.key("attention.compress_ratios"), ratio);
        shape->hash = layer < hash_layers;
        shapes.push_back(*shape);
    }
    return shapes;
}

}  // namespace

Config config_from_gguf(const Gguf& file) {
    const auto name = file.metadata().get<std::string_view>("general.architecture");
    Config c = config_of(parse_architecture(name, file.source()));
    const GgufFields fields(file, architecture_name(c.architecture));
    fields.only<std::uint32_t>("attention.head_count_kv", 1);
    fields.only<std::uint32_t>("hyper_connection.count", kStreams);
    fields.only<std::uint32_t>("expert_gating_func", kSqrtSoftplus);
    fields.only<bool>("expert_weights_norm", true);
    if (fields.get_or<std::uint32_t>("expert_group_count", 1) > 1)
        fail("{}: key '{}': expert groups are not supported", file.source(),
             fields.key("expert_group_count"));

    c.name = fields.metadata.get_or<std::string_view>("general.name", "");
    c.layers = count_layers(file, fields);
    c.vocab_size = count_vocabulary(file, fields);
    c.hidden_size = fields.size("embedding_length");
    c.context_length = fields.get<std::int64_t>("context_length");

    c.heads = fields.size("attention.head_count");
    c.head_dim = fields.size("attention.key_length");
    fields.only<std::int32_t>("attention.value_length", c.head_dim);
    c.rope_dim = fields.size("rope.dimension_count");
    c.q_lora_rank = fields.size("attention.q_lora_rank");
    c.output_groups = fields.size("attention.output_group_count");
    c.output_lora_rank = fields.size("attention.output_lora_rank");
    c.sliding_window = fields.size("attention.sliding_window");
    c.layer_shapes = read_layer_shapes(file, fields, c);
    c.norm_eps = fields.get<float>("attention.layer_norm_rms_epsilon");

    c.rope.theta = fields.get_or("rope.freq_base", c.rope.theta);
    c.rope.compress_theta = fields.get<float>("attention.compress_rope_freq_base");
    const auto scaling = fields.get_or<std::string_view>("rope.scaling.type", "yarn");
    if (scaling == "yarn") {
        c.rope.yarn_factor = fields.get_or("rope.scaling.factor", c.rope.yarn_factor);
        c.rope.yarn_original_context =
            fields.get_or("rope.scaling.original_context_length", c.rope.yarn_original_context);
        c.rope.yarn_beta_fast = fields.get_or("rope.scaling.yarn_beta_fast", c.rope.yarn_beta_fast);
        c.rope.yarn_beta_slow = fields.get_or("rope.scaling.yarn_beta_slow", c.rope.yarn_beta_slow);
    } else if (scaling != "none") {
        fail("{}: key '{}' is {}, expected 'yarn'", file.source(), fields.key("rope.scaling.type"),
             in_quotes(scaling));
    }

    c.index_heads = fields.size("attention.indexer.head_count");
    c.index_head_dim = fields.size("attention.indexer.key_length");
    c.index_top_k = fields.size("attention.indexer.top_k");

    c.experts = fields.size("expert_count");
    c.experts_per_token = fields.size("expert_used_count");
    c.shared_experts = fields.size("expert_shared_count");
    c.expert_hidden_size = fields.size("expert_feed_forward_length");
    c.routed_scale = fields.get<float>("expert_weights_scale");
    c.swiglu_limit = fields.limits("swiglu_clamp_exp", c.layers);
    c.swiglu_limit_shared = fields.metadata.contains(fields.key("swiglu_clamp_shexp"))
                                ? fields.limits("swiglu_clamp_shexp", c.layers)
                                : c.swiglu_limit;

    c.sinkhorn_iterations = fields.size("hyper_connection.sinkhorn_iterations");
    c.hyper_connection_eps = fields.get<float>("hyper_connection.epsilon");
    if (c.is_v41()) read_v41(fields, c);
    read_parts(fields, c);
    c.bos = fields.metadata.get_or("tokenizer.ggml.bos_token_id", c.bos);
    c.eos = fields.metadata.get_or("tokenizer.ggml.eos_token_id", c.eos);
    validate(c, file.source());
    return c;
}

void write_config(const Config& c, GgufWriter& writer) {
    const auto key = [&](std::string_view name) {
        return fmt::format("{}.{}", architecture_name(c.architecture), name);
    };
    const auto size = [&](std::string_view name, std::int64_t value) {
        writer.set<std::uint32_t>(key(name), checked_cast<std::uint32_t>(value, name));
    };
    const auto number = [&](std::string_view name, float value) { writer.set<float>(key(name), value); };

    writer.set("general.architecture", architecture_name(c.architecture));
    if (!c.name.empty()) writer.set("general.name", c.name);
    size("block_count", c.layers);
    size("vocab_size", c.vocab_size);
    size("context_length", c.context_length);
    size("embedding_length", c.hidden_size);
    size("embedding_length_out", std::int64_t{c.hidden_size} * kStreams);

    size("attention.head_count", c.heads);
    size("attention.head_count_kv", 1);
    size("attention.key_length", c.head_dim);
    size("attention.value_length", c.head_dim);
    size("attention.q_lora_rank", c.q_lora_rank);
    size("attention.output_group_count", c.output_groups);
    size("attention.output_lora_rank", c.output_lora_rank);
    size("attention.sliding_window", c.sliding_window);
    std::vector<std::int32_t> ratios;
    for (int layer = 0; layer < c.layers; ++layer) ratios.push_back(c.shape(layer).ratio);
    writer.set_array<std::int32_t>(key("attention.compress_ratios"), ratios);
    number("attention.layer_norm_rms_epsilon", c.norm_eps);
    number("attention.compress_rope_freq_base", c.rope.compress_theta);
    size("attention.indexer.head_count", c.index_heads);
    size("attention.indexer.key_length", c.index_head_dim);
    size("attention.indexer.top_k", c.index_top_k);

    size("rope.dimension_count", c.rope_dim);
    number("rope.freq_base", c.rope.theta);
    if (c.rope.yarn_factor != 1) {
        writer.set(key("rope.scaling.type"), "yarn");
        number("rope.scaling.factor", c.rope.yarn_factor);
        size("rope.scaling.original_context_length", c.rope.yarn_original_context);
        number("rope.scaling.yarn_beta_fast", c.rope.yarn_beta_fast);
        number("rope.scaling.yarn_beta_slow", c.rope.yarn_beta_slow);
    }

    size("expert_count", c.experts);
    size("expert_used_count", c.experts_per_token);
    size("expert_shared_count", c.shared_experts);
    size("expert_feed_forward_length", c.expert_hidden_size);
    if (!c.is_v41()) size("hash_layer_count", c.hash_layers());
    number("expert_weights_scale", c.routed_scale);
    writer.set<bool>(key("expert_weights_norm"), true);
    size("expert_gating_func", kSqrtSoftplus);
    writer.set_array<float>(key("swiglu_clamp_exp"), c.swiglu_limit);
    writer.set_array<float>(key("swiglu_clamp_shexp"), c.swiglu_limit_shared);

    size("hyper_connection.count", kStreams);
    size("hyper_connection.sinkhorn_iterations", c.sinkhorn_iterations);
    number("hyper_connection.epsilon", c.hyper_connection_eps);
    if (c.is_v41()) write_v41(c, key(""), writer);
    write_parts(c, key(""), writer);
    writer.set<std::uint32_t>("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(c.bos));
    writer.set<std::uint32_t>("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(c.eos));
}

}  // namespace cachalot
