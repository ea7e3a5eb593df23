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

namespace cachalot {
namespace {

constexpr std::uint32_t kSqrtSoftplus = 4;  // expert_gating_func
constexpr std::string_view kArchitecture = "deepseek4";

std::string key(std::string_view name) { return fmt::format("{}.{}", kArchitecture, name); }

class Reader {
  public:
    explicit Reader(const Gguf& file) : metadata(file.metadata()), source_(file.source()) {}

    template <class T>
    T get(std::string_view name) const {
        return metadata.get<T>(key(name));
    }
    template <class T>
    T get_or(std::string_view name, T fallback) const {
        return metadata.get_or<T>(key(name), fallback);
    }
    int size(std::string_view name) const { return get<std::int32_t>(name); }

    template <class T>
    void only(std::string_view name, T supported) const {
        const auto value = metadata.find<T>(key(name));
        if (value && *value != supported)
            fail("{}: key '{}' is {}, expected {}", source_, key(name), *value, supported);
    }

    // One entry for each layer from an array that may have more.
    template <class T>
    std::vector<T> per_layer(std::string_view name, int layers) const {
        auto values = get<std::vector<T>>(name);
        if (std::cmp_less(values.size(), layers))
            fail("{}: key '{}' has {} entries for {} layers", source_, key(name), values.size(), layers);
        values.resize(static_cast<std::size_t>(layers));
        return values;
    }

    std::vector<float> limits(std::string_view name, int layers) const {
        const GgufValue* value = metadata.value(key(name));
        if (value && !value->is_array)
            return std::vector<float>(static_cast<std::size_t>(layers), get<float>(name));
        return per_layer<float>(name, layers);
    }

    const GgufMetadata& metadata;

  private:
    const std::string& source_;
};

// Without blocks of multi-token prediction.
int count_layers(const Gguf& file, const Reader& reader) {
    const int blocks = reader.size("block_count");
    if (blocks < 1 || blocks > kMaxLayers)
        fail("{}: key '{}' is {}, expected 1 to {}", file.source(), key("block_count"), blocks, kMaxLayers);
    const int predictors = reader.get_or<std::int32_t>("nextn_predict_layers", 0);
    if (predictors < 0 || predictors >= blocks) return blocks;
    const int layers = blocks - predictors;
    return file.contains(fmt::format("blk.{}.nextn.eh_proj.weight", layers)) ? layers : blocks;
}

int count_vocabulary(const Gguf& file, const Reader& reader) {
    if (const auto size = reader.metadata.find<std::int32_t>(key("vocab_size"))) return *size;
    const GgufValue* tokens = reader.metadata.value("tokenizer.ggml.tokens");
    if (!tokens || !tokens->is_array)
        fail("{}: both '{}' and 'tokenizer.ggml.tokens' are missing", file.source(), key("vocab_size"));
    return checked_cast<int>(tokens->count, "the vocabulary size");
}

std::vector<LayerShape> read_layer_shapes(const Reader& reader, int layers, const std::string& source) {
    const int hash_layers = reader.size("hash_layer_count");
    if (hash_layers < 0 || hash_layers > layers)
        fail("{}: key '{}' is {}, expected 0 to {}", source, key("hash_layer_count"), hash_layers, layers);
    std::vector<LayerShape> shapes;
    for (const std::int32_t ratio : reader.per_layer<std::int32_t>("attention.compress_ratios", layers)) {
        const int layer = static_cast<int>(shapes.size());
        auto shape = v4_layer(layer, ratio);
        if (!shape)
            fail("{}: key '{}' holds {}, expected 0, 4 or 128", source, key("attention.compress_ratios"),
                 ratio);
        shape->hash = layer < hash_layers;
        shapes.push_back(*shape);
    }
    return shapes;
}

}  // namespace

Config config_from_gguf(const Gguf& file) {
    const Reader reader(file);
    if (parse_architecture(reader.metadata.get<std::string_view>("general.architecture"), file.source()) !=
        Architecture::v4)
        fail("{}: GGUF files of DeepSeek V4.1 are not supported yet", file.source());
    reader.only<std::uint32_t>("attention.head_count_kv", 1);
    reader.only<std::uint32_t>("hyper_connection.count", kStreams);
    reader.only<std::uint32_t>("expert_gating_func", kSqrtSoftplus);
    reader.only<bool>("expert_weights_norm", true);
    if (reader.get_or<std::uint32_t>("expert_group_count", 1) > 1)
        fail("{}: key '{}': expert groups are not supported", file.source(), key("expert_group_count"));

    Config c;
    c.name = reader.metadata.get_or<std::string_view>("general.name", "");
    c.layers = count_layers(file, reader);
    c.vocab_size = count_vocabulary(file, reader);
    c.hidden_size = reader.size("embedding_length");
    c.context_length = reader.get<std::int64_t>("context_length");

    c.heads = reader.size("attention.head_count");
    c.head_dim = reader.size("attention.key_length");
    reader.only<std::int32_t>("attention.value_length", c.head_dim);
    c.rope_dim = reader.size("rope.dimension_count");
    c.q_lora_rank = reader.size("attention.q_lora_rank");
    c.output_groups = reader.size("attention.output_group_count");
    c.output_lora_rank = reader.size("attention.output_lora_rank");
    c.sliding_window = reader.size("attention.sliding_window");
    c.layer_shapes = read_layer_shapes(reader, c.layers, file.source());
    c.norm_eps = reader.get<float>("attention.layer_norm_rms_epsilon");

    c.rope.theta = reader.get_or("rope.freq_base", c.rope.theta);
    c.rope.compress_theta = reader.get<float>("attention.compress_rope_freq_base");
    const auto scaling = reader.get_or<std::string_view>("rope.scaling.type", "yarn");
    if (scaling == "yarn") {
        c.rope.yarn_factor = reader.get_or("rope.scaling.factor", c.rope.yarn_factor);
        c.rope.yarn_original_context =
            reader.get_or("rope.scaling.original_context_length", c.rope.yarn_original_context);
        c.rope.yarn_beta_fast = reader.get_or("rope.scaling.yarn_beta_fast", c.rope.yarn_beta_fast);
        c.rope.yarn_beta_slow = reader.get_or("rope.scaling.yarn_beta_slow", c.rope.yarn_beta_slow);
    } else if (scaling != "none") {
        fail("{}: key '{}' is {}, expected 'yarn'", file.source(), key("rope.scaling.type"),
             in_quotes(scaling));
    }

    c.index_heads = reader.size("attention.indexer.head_count");
    c.index_head_dim = reader.size("attention.indexer.key_length");
    c.index_top_k = reader.size("attention.indexer.top_k");

    c.experts = reader.size("expert_count");
    c.experts_per_token = reader.size("expert_used_count");
    c.shared_experts = reader.size("expert_shared_count");
    c.expert_hidden_size = reader.size("expert_feed_forward_length");
    c.routed_scale = reader.get<float>("expert_weights_scale");
    c.swiglu_limit = reader.limits("swiglu_clamp_exp", c.layers);
    c.swiglu_limit_shared = reader.metadata.contains(key("swiglu_clamp_shexp"))
                                ? reader.limits("swiglu_clamp_shexp", c.layers)
                                : c.swiglu_limit;

    c.sinkhorn_iterations = reader.size("hyper_connection.sinkhorn_iterations");
    c.hyper_connection_eps = reader.get<float>("hyper_connection.epsilon");
    c.bos = reader.metadata.get_or("tokenizer.ggml.bos_token_id", c.bos);
    c.eos = reader.metadata.get_or("tokenizer.ggml.eos_token_id", c.eos);
    validate(c, file.source());
    return c;
}

void write_config(const Config& c, GgufWriter& writer) {
    const auto size = [&](std::string_view name, std::int64_t value) {
        writer.set<std::uint32_t>(key(name), checked_cast<std::uint32_t>(value, name));
    };
    const auto number = [&](std::string_view name, float value) { writer.set<float>(key(name), value); };

    writer.set("general.architecture", kArchitecture);
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
    size("hash_layer_count", c.hash_layers());
    number("expert_weights_scale", c.routed_scale);
    writer.set<bool>(key("expert_weights_norm"), true);
    size("expert_gating_func", kSqrtSoftplus);
    writer.set_array<float>(key("swiglu_clamp_exp"), c.swiglu_limit);
    writer.set_array<float>(key("swiglu_clamp_shexp"), c.swiglu_limit_shared);

    size("hyper_connection.count", kStreams);
    size("hyper_connection.sinkhorn_iterations", c.sinkhorn_iterations);
    number("hyper_connection.epsilon", c.hyper_connection_eps);
    writer.set<std::uint32_t>("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(c.bos));
    writer.set<std::uint32_t>("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(c.eos));
}

}  // namespace cachalot
