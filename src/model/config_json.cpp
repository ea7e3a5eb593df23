// config.json of DeepSeek's releases.
//
// The keys are those of the releases; files that went through other tools may spell the rope settings
// differently (see read_rope). A key that is null counts as absent, as in the tools that write these files.
// Keys with one legal value may be absent, but if they are there they must have it: they change what the
// formulas mean.

#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/checked.h"
#include "base/error.h"
#include "file/in_quotes.h"
#include "file/json.h"
#include "file/mapped_file.h"
#include "model/config.h"

namespace cachalot {
namespace {

using nlohmann::json;

// Typed access to the keys of one object; errors name the source and the key with its path.
class Fields {
  public:
    Fields(const json& object, std::string_view source, std::string prefix = "")
        : object_(object), source_(source), prefix_(std::move(prefix)) {}

    const json* find(std::string_view key) const {
        const auto found = object_.find(key);
        return found == object_.end() || found->is_null() ? nullptr : &*found;
    }
    const json& get(std::string_view key) const {
        const json* value = find(key);
        if (!value) fail("{}: '{}{}' is missing", source_, prefix_, key);
        return *value;
    }

    template <class T>
    T integer(std::string_view key, T low, T high) const {
        return to_integer<T>(key, get(key), low, high);
    }
    template <class T>
    T integer_or(std::string_view key, T fallback) const {
        const json* value = find(key);
        return value ? to_integer<T>(key, *value, 0, std::numeric_limits<T>::max()) : fallback;
    }
    // The bounds that matter are those of validate(); this one keeps the value out of trouble until then.
    int size(std::string_view key) const { return integer<int>(key, 0, std::numeric_limits<int>::max()); }

    float number(std::string_view key) const { return to_number(key, get(key)); }
    float number_or(std::string_view key, float fallback) const {
        const json* value = find(key);
        return value ? to_number(key, *value) : fallback;
    }

    std::string text(std::string_view key) const {
        const json& value = get(key);
        if (!value.is_string()) refuse(key, value, "a string");
        return value.get<std::string>();
    }

    // The object under `key`; null if absent.
    const json* object(std::string_view key) const {
        const json* value = find(key);
        if (value && !value->is_object()) refuse(key, *value, "an object");
        return value;
    }

    void only(std::string_view key, const json& supported) const {
        const json* value = find(key);
        if (value && *value != supported) refuse(key, *value, supported.dump());
    }

    template <class T>
    T to_integer(std::string_view key, const json& value, T low, T high) const {
        if (value.is_number_unsigned()) {
            const auto number = value.get<std::uint64_t>();
            if (std::cmp_greater_equal(number, low) && std::cmp_less_equal(number, high))
                return static_cast<T>(number);
        }
        refuse(key, value, fmt::format("an integer from {} to {}", low, high));
    }

    [[noreturn]] void refuse(std::string_view key, const json& value, std::string_view expected) const {
        const auto text = value.dump(-1, ' ', false, json::error_handler_t::replace);
        fail("{}: '{}{}' is {}, expected {}", source_, prefix_, key, text.substr(0, 60), expected);
    }

  private:
    float to_number(std::string_view key, const json& value) const {
        if (value.is_number()) {
            const double number = value.get<double>();
            if (std::abs(number) <= std::numeric_limits<float>::max()) return static_cast<float>(number);
        }
        refuse(key, value, "a number");
    }

    const json& object_;
    std::string_view source_;
    std::string prefix_;
};

// The releases have rope_theta and compress_rope_theta beside a "rope_scaling" with the YaRN settings. Files
// written by newer tools gather both in "rope_parameters", either {"main": {...}, "compress": {...}} or one
// per kind ("rope_parameters", "compress_rope_parameters"), each with its own rope_theta.
RopeConfig read_rope(const Fields& top, std::string_view source) {
    const json* plain = top.object("rope_parameters");
    const json* compress = top.object("compress_rope_parameters");
    std::string plain_path = "rope_parameters.";
    std::string compress_path = "compress_rope_parameters.";
    if (plain && plain->contains("main")) {
        const Fields both(*plain, source, "rope_parameters.");
        plain = both.object("main");
        compress = both.object("compress");
        plain_path = "rope_parameters.main.";
        compress_path = "rope_parameters.compress.";
    }

    const auto theta = [&](std::string_view key, const json* nested, const std::string& path) {
        if (!nested || top.find(key)) return top.number(key);
        return Fields(*nested, source, path).number("rope_theta");
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
    const Fields yarn(*scaling, source, compress_path);
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

std::vector<LayerShape> read_layer_shapes(const Fields& top, int layers) {
    const json& ratios = top.get("compress_ratios");
    if (!ratios.is_array()) top.refuse("compress_ratios", ratios, "an array");
    // The releases add one entry for each block of multi-token prediction.
    if (ratios.size() < static_cast<std::size_t>(layers))
        top.refuse("compress_ratios", ratios, fmt::format("an entry for each of the {} layers", layers));
    const int hash_layers = top.integer<int>("num_hash_layers", 0, layers);
    std::vector<LayerShape> shapes;
    for (int layer = 0; layer < layers; ++layer) {
        const json& ratio = ratios[static_cast<std::size_t>(layer)];
        auto shape = v4_layer(
            layer, top.to_integer<int>("compress_ratios", ratio, 0, std::numeric_limits<int>::max()));
        if (!shape) top.refuse("compress_ratios", ratio, "0, 4 or 128");
        shape->hash = layer < hash_layers;
        shapes.push_back(*shape);
    }
    return shapes;
}

// Other architectures may be named here only.
void check_other_name(const Fields& top, std::string_view source) {
    const json* names = top.find("architectures");
    if (!names || !names->is_array() || names->empty() || !names->front().is_string()) return;
    const auto name = names->front().get<std::string>();
    if (!name.starts_with("DeepseekV4")) check_architecture(name, source);
}

void check_named_architecture(const Fields& top, std::string_view source) {
    if (!top.find("model_type")) check_other_name(top, source);
    check_architecture(top.text("model_type"), source);
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
    const Fields top(root, source);
    check_named_architecture(top, source);
    top.only("num_key_value_heads", 1);
    top.only("scoring_func", "sqrtsoftplus");
    top.only("topk_method", "noaux_tc");
    top.only("norm_topk_prob", true);
    top.only("tie_word_embeddings", false);
    top.only("hc_mult", kStreams);
    if (const json* quantization = top.object("quantization_config")) {
        const Fields fields(*quantization, source, "quantization_config.");
        fields.only("quant_method", "fp8");
        fields.only("fmt", "e4m3");
        fields.only("scale_fmt", "ue8m0");
        fields.only("weight_block_size", {128, 128});
    }

    Config c;
    c.name = std::filesystem::path(source).parent_path().filename().string();
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
    c.layer_shapes = read_layer_shapes(top, c.layers);
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
    c.bos = top.integer_or<std::int32_t>("bos_token_id", c.bos);
    c.eos = top.integer_or<std::int32_t>("eos_token_id", c.eos);
    validate(c, source);
    return c;
}

Config read_config(const std::filesystem::path& directory) {
    return with_config_text(directory, config_from_json);
}

void check_architecture_of(const std::filesystem::path& directory) {
    with_config_text(directory, [](std::string_view text, std::string_view source) {
        const json root = parse_file_json(text, source);
        check_named_architecture(Fields(root, source), source);
    });
}

}  // namespace cachalot
