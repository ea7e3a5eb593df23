#include "model/config.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "file/in_quotes.h"

namespace cachalot {
namespace {

class Checker {
  public:
    explicit Checker(std::string_view source) : source_(source) {}

    void range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high) const {
        if (value < low || value > high)
            fail("{}: {} is {}, expected {} to {}", source_, what, value, low, high);
    }
    void positive(std::string_view what, float value) const {
        if (!std::isfinite(value) || value <= 0)
            fail("{}: {} is {}, expected a positive number", source_, what, value);
    }
    void multiple(std::string_view what, std::int64_t value, std::int64_t of) const {
        if (value % of != 0) fail("{}: {} is {}, expected a multiple of {}", source_, what, value, of);
    }
    void limits(std::string_view what, const std::vector<float>& values, int layers) const {
        if (std::cmp_not_equal(values.size(), layers))
            fail("{}: {} has {} entries for {} layers", source_, what, values.size(), layers);
        for (float value : values) positive(what, value);
    }
    // A layer reads rows of a layer that has them, at the ratio at which they were made, and only what is
    // there already.
    void sources(const Config& c) const {
        for (int l = 0; l < c.layers; ++l) {
            const LayerShape& s = c.shape(l);
            if (s.ratio < 0 || (s.overlap && s.ratio < 1) || (s.ratio == 0) != (s.kv_source < 0))
                fail("{}: layer {}: its compression ratio of {} is not possible", source_, l, s.ratio);
            if (s.kv_source > l || (s.kv_source >= 0 && c.shape(s.kv_source).ratio != s.ratio))
                fail("{}: layer {} reads rows of layer {}, which has none for it", source_, l, s.kv_source);
            if (s.index_source > l || (s.index_source >= 0 && !c.shape(s.index_source).indexer))
                fail("{}: layer {} takes the choice of layer {}, which has no indexer", source_, l,
                     s.index_source);
        }
    }

    // The blocks of candidates must hold all that is chosen from them.
    void candidates(const Config& c) const {
        const bool made = std::any_of(c.layer_shapes.begin(), c.layer_shapes.end(),
                                      [](const LayerShape& s) { return s.candidate_source >= 0; });
        if (!made) return;
        range("the number of candidate blocks", c.candidate_blocks, 1, 1 << 20);
        range("the size of a candidate block", c.candidate_block_size, 1, 1 << 16);
        // The newest block, which is always one of them, may have a single row.
        if (std::int64_t{c.candidate_blocks - 1} * c.candidate_block_size + 1 < c.index_top_k)
            fail("{}: {} candidate blocks of {} rows hold fewer than the {} that are chosen", source_,
                 c.candidate_blocks, c.candidate_block_size, c.index_top_k);
    }
    void drafter(const Config& c) const {
        const DsparkConfig& d = c.dspark;
        if (c.mtp && (d.present() || c.is_v41()))
            fail("{}: a block for multi-token prediction (MTP) stands {}, which no release has", source_,
                 d.present() ? "beside the stages of DSpark" : "in a model of V4.1");
        if (!d.present()) return;
        range("the number of the drafter's stages", d.stages, 1, kMaxLayers);
        range("the drafter's block size", d.block_size, 1, 1024);
        range("the drafter's noise token", d.noise_token, 0, c.vocab_size - 1);
        range("the number of layers that the drafter reads", std::ssize(d.target_layers), 1, c.layers);
        for (const int layer : d.target_layers)
            range("a layer that the drafter reads", layer, 0, c.layers - 1);
        range("the drafter's Markov rank", d.markov_rank, 1, 1 << 16);
        range("the number of the drafter's experts", d.experts, 1, 4096);
        range("the number of the drafter's experts per token", d.experts_per_token, 1, d.experts);
    }
    void vision(const Config& c) const {
        const VisionConfig& v = c.vision;
        if (!v.present()) return;
        range("the number of the vision model's layers", v.layers, 1, kMaxLayers);
        range("the vision model's hidden size", v.hidden_size, 1, 1 << 16);
        range("the number of the vision model's heads", v.heads, 1, v.hidden_size);
        // Rows and columns of patches each rotate one half of a head, in pairs.
        multiple("the vision model's hidden size", v.hidden_size, std::int64_t{4} * v.heads);
        range("the vision model's inner size", v.inner_size, 1, 1 << 18);
        range("the size of a patch", v.patch_size, 1, 1024);
        range("the number of patches for a token", v.downsample, 1, 64);
        range("the most tokens of a picture", v.max_tokens, 1, 1 << 20);
        range("the fewest pixels of a picture", v.min_pixels, 0, 1 << 30);
        if (!std::isfinite(v.max_aspect) || v.max_aspect < 0)
            fail("{}: the greatest ratio of a picture's sides is {}, expected a positive number or 0",
                 source_, v.max_aspect);
        if (!std::isfinite(v.rope_theta) || v.rope_theta <= 1)
            fail("{}: rope theta of the vision model is {}, expected a number above 1", source_,
                 v.rope_theta);
        range("the token that stands for pictures", v.token, 0, c.vocab_size - 1);
    }
    void stored(const Config& c) const {
        for (const int size : {c.fp8_block, c.activation_group})
            if (size != 32 && size != 128)
                fail("{}: FP8 values share a scale in blocks of {}, expected 32 or 128", source_, size);
    }

  private:
    std::string_view source_;
};

}  // namespace

int Config::context_layers_end() const {
    for (int l = layers - 1; l >= 0; --l)
        if (const int source = shape(l).kv_source; source >= 0) return source < l ? source : layers;
    return layers;
}

int Config::hash_layers() const {
    return static_cast<int>(
        std::count_if(layer_shapes.begin(), layer_shapes.end(), [](const LayerShape& s) { return s.hash; }));
}

void validate(const Config& c, std::string_view source) {
    const Checker check(source);
    check.range("the vocabulary size", c.vocab_size, 1, 1 << 20);
    check.range("the number of layers", c.layers, 1, kMaxLayers);
    // Positions are multiplied with rope frequencies in float32, which counts exactly up to 2^24.
    check.range("the context length", c.context_length, 1, 1 << 24);

    // Whatever is the input of a matrix is a row of blocks of 32.
    check.range("the hidden size", c.hidden_size, 32, 1 << 16);
    check.multiple("the hidden size", c.hidden_size, 32);
    check.range("the q-lora rank", c.q_lora_rank, 32, 1 << 16);
    check.multiple("the q-lora rank", c.q_lora_rank, 32);

    check.range("the number of heads", c.heads, 1, 1024);
    check.range("the head dimension", c.head_dim, 2, 4096);
    // The kernels take 32 elements of a head at a time.
    check.multiple("the head dimension", c.head_dim, 32);
    check.range("the rope dimension", c.rope_dim, 2, c.head_dim);
    check.multiple("the rope dimension", c.rope_dim, 2);
    // The dimensions that are not rotated are rounded to FP8 in groups of 64.
    if (!c.is_v41()) check.multiple("the head dimension without rope", c.head_dim - c.rope_dim, 64);
    check.range("the number of output groups", c.output_groups, 1, c.heads);
    check.multiple("the number of heads", c.heads, c.output_groups);
    check.multiple("the width of an output group", c.heads / c.output_groups * c.head_dim, 32);
    check.range("the output rank", c.output_lora_rank, 1, 1 << 16);
    check.multiple("the total output rank", std::int64_t{c.output_groups} * c.output_lora_rank, 32);
    check.range("the sliding window", c.sliding_window, 1, 1 << 16);
    if (std::cmp_not_equal(c.layer_shapes.size(), c.layers))
        fail("{}: {} compression ratios for {} layers", source, c.layer_shapes.size(), c.layers);
    check.sources(c);

    // The frequencies of YaRN divide by the logarithm of theta.
    for (float theta : {c.rope.theta, c.rope.compress_theta})
        if (!std::isfinite(theta) || theta <= 1)
            fail("{}: rope theta is {}, expected a number above 1", source, theta);
    if (!std::isfinite(c.rope.yarn_factor) || c.rope.yarn_factor < 1)
        fail("{}: the YaRN factor is {}, expected at least 1", source, c.rope.yarn_factor);
    check.range("the YaRN original context", c.rope.yarn_original_context, 1, 1 << 24);
    check.positive("YaRN beta_slow", c.rope.yarn_beta_slow);
    check.positive("YaRN beta_fast", c.rope.yarn_beta_fast);
    if (c.rope.yarn_beta_fast < c.rope.yarn_beta_slow)
        fail("{}: YaRN beta_fast {} is below beta_slow {}", source, c.rope.yarn_beta_fast,
             c.rope.yarn_beta_slow);
    check.positive("the norm epsilon", c.norm_eps);

    // Hadamard rotation needs a power of two, FP4 rounding groups of 32. The kernels rotate no other keys.
    check.range("the number of indexer heads", c.index_heads, 1, 1024);
    check.range("the indexer head dimension", c.index_head_dim, 32, 4096);
    if (!std::has_single_bit(static_cast<unsigned>(c.index_head_dim)) || c.index_head_dim < c.rope_dim)
        fail(
            "{}: the indexer head dimension is {}, expected a power of two of at least the rope dimension {}",
            source, c.index_head_dim, c.rope_dim);
    check.range("the indexer's top k", c.index_top_k, 1, 1 << 20);
    check.candidates(c);

    check.range("the number of experts", c.experts, 1, 4096);
    check.range("the number of experts per token", c.experts_per_token, 1, c.experts);
    if (c.shared_experts != 1) fail("{}: {} shared experts; only 1 is supported", source, c.shared_experts);
    check.range("the expert hidden size", c.expert_hidden_size, 32, 1 << 16);
    check.multiple("the expert hidden size", c.expert_hidden_size, 32);
    check.positive("the routed scale", c.routed_scale);
    check.limits("the SwiGLU limit", c.swiglu_limit, c.layers);
    check.limits("the SwiGLU limit of the shared expert", c.swiglu_limit_shared, c.layers);

    check.range("the number of Sinkhorn iterations", c.sinkhorn_iterations, 1, 1000);
    check.positive("the hyper-connection epsilon", c.hyper_connection_eps);
    check.stored(c);
    validate_engram(c.engram, c.vocab_size, source);
    check.drafter(c);
    check.vision(c);
    check.range("the begin-of-text id", c.bos, 0, c.vocab_size - 1);
    check.range("the end-of-text id", c.eos, 0, c.vocab_size - 1);
}

Architecture parse_architecture(std::string_view name, std::string_view source) {
    if (name == "deepseek_v4" || name == "deepseek4") return Architecture::v4;
    if (name == "deepseek_v41" || name == "deepseek_v41_text" || name == "deepseek41")
        return Architecture::v41;
    fail(
        "{}: the architecture {} is not supported; Cachalot runs DeepSeek V4 and V4.1 (deepseek_v4, "
        "deepseek_v41, deepseek4, deepseek41)",
        source, in_quotes(name));
}

std::string_view architecture_name(Architecture architecture) {
    return architecture == Architecture::v41 ? "deepseek41" : "deepseek4";
}

Config config_of(Architecture architecture) {
    Config c;
    c.architecture = architecture;
    if (architecture == Architecture::v4) return c;
    c.query_head_norm = false;
    c.window_rows = RowRounding::fp8_32;
    c.compressed_rows = RowRounding::fp4_16;
    c.index_compressor = false;
    c.index_hadamard = false;
    c.delayed_mixing = true;
    c.fp8_block = c.activation_group = 32;
    return c;
}

Config drafter_stages(const Config& config) {
    const bool dspark = config.drafter() == DrafterKind::dspark;
    Config c = config;
    c.layers = dspark ? config.dspark.stages : 1;
    const auto stages = static_cast<std::size_t>(c.layers);
    c.layer_shapes.assign(stages, LayerShape());
    c.swiglu_limit.assign(stages, config.swiglu_limit.back());
    c.swiglu_limit_shared.assign(stages, config.swiglu_limit_shared.back());
    if (dspark) {
        c.experts = config.dspark.experts;
        c.experts_per_token = config.dspark.experts_per_token;
    }
    c.candidate_blocks = c.candidate_block_size = 0;
    c.engram = {};
    c.dspark = {};
    c.mtp = false;
    c.vision = {};
    return c;
}

}  // namespace cachalot
