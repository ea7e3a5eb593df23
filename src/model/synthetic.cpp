#include "model/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/thread_pool.h"
#include "file/gguf_writer.h"
#include "file/tensor_file.h"
#include "model/checkpoint.h"
#include "model/engram_classes.h"
#include "model/model_tensors.h"
#include "model/random_blocks.h"
#include "model/synthetic_vocabulary.h"

namespace cachalot {
namespace {

using Kind = TensorSpec::Kind;
using Role = TensorSpec::Role;

// Made and written at a time, in items that threads take in turn. Items have seeds of their own, so neither
// the number of threads nor the size of a piece changes the file.
constexpr std::int64_t kItemBytes = std::int64_t(256) << 10;
constexpr std::int64_t kItemsPerPiece = 32;

class Synthesizer {
  public:
    Synthesizer(const Config& config, const SyntheticOptions& options, const std::filesystem::path& output,
                const SyntheticProgress& progress)
        : config_(config), options_(options), progress_(progress), writer_(output), pool_(options.threads) {}

    SyntheticSummary run() {
        const auto specs = model_tensors(config_);
        write_config(config_, writer_);
        writer_.set("general.description",
                    "Random weights, to measure speed with; the vocabulary is made up and the text noise.");
        write_tokenizer(synthetic_vocabulary(config_.vocab_size), writer_);
        for (const auto& spec : specs) {
            std::vector<std::int64_t> shape = {spec.rows, spec.columns};
            if (spec.rows == 1) shape = {spec.columns};
            if (spec.kind == Kind::experts) shape.insert(shape.begin(), spec.experts);
            if (spec.kind == Kind::table)
                shape.back() += spec.columns / kEngramBlock;  // scales behind values
            if (is_hole(spec)) {
                writer_.declare_zeros(spec.gguf, type(spec), shape);
                summary_.holes += tensor_bytes(type(spec), shape);
            } else {
                writer_.declare(spec.gguf, type(spec), shape);
            }
        }
        summary_.bytes = writer_.file_size();
        summary_.tensors = static_cast<int>(specs.size());
        for (tensor_ = 0; tensor_ < specs.size(); ++tensor_)
            if (!is_hole(specs[tensor_])) write(specs[tensor_]);
        writer_.finish();
        return summary_;
    }

  private:
    DType type(const TensorSpec& s) const { return synthetic_type(s, options_); }
    bool is_hole(const TensorSpec& s) const { return options_.zero_tables && s.kind == Kind::table; }

    void write(const TensorSpec& s) {
        if (s.kind == Kind::integers) return write_table(s);
        if (s.kind == Kind::floats) return write_floats(s);
        if (s.kind == Kind::table) return write_rows(s);
        // The output of a matrix is about as large as its input. The embedding's rows are outputs as they
        // are.
        const bool embedding = s.role == Role::embedding;
        const double deviation = embedding ? 1.0 : 1.0 / std::sqrt(static_cast<double>(s.columns));
        const RandomBlocks blocks(type(s), deviation);
        const std::int64_t block_bytes = info(type(s)).bytes,
                           item_bytes = kItemBytes / block_bytes * block_bytes;
        const std::int64_t bytes = row_bytes(type(s), s.columns) * s.rows * std::max(1, s.experts);
        write_items(s.gguf, bytes, item_bytes,
                    [&](std::span<std::byte> item, std::uint64_t seed) { blocks.fill(item, seed); });
    }

    // Rows of FP8 with exponents 2^-3 to 2^0 only, so that there is no NaN, and of deviation 0.8 by
    // themselves.
    void write_rows(const TensorSpec& s) {
        const auto columns = static_cast<std::size_t>(s.columns), row = columns + columns / kEngramBlock;
        const auto item_bytes = static_cast<std::int64_t>(std::max<std::size_t>(1, kItemBytes / row) * row);
        write_items(s.gguf, s.rows * static_cast<std::int64_t>(row), item_bytes,
                    [&](std::span<std::byte> item, std::uint64_t seed) {
                        RandomBits(seed).fill(item);
                        for (std::size_t i = 0; i < item.size(); ++i)
                            item[i] = i % row < columns ? (item[i] & std::byte{0x9f}) | std::byte{0x20}
                                                        : std::byte{127};
                    });
    }

    // fill(item, seed) makes the bytes; threads take items in turn.
    template <class Fill>
    void write_items(const std::string& name, std::int64_t bytes, std::int64_t item_bytes, const Fill& fill) {
        const std::int64_t items = (bytes + item_bytes - 1) / item_bytes;
        piece_.resize(static_cast<std::size_t>(item_bytes * kItemsPerPiece));
        for (std::int64_t first = 0; first < items; first += kItemsPerPiece) {
            const std::int64_t begin = first * item_bytes;
            const std::int64_t end = std::min(bytes, begin + kItemsPerPiece * item_bytes);
            const std::span piece(piece_.data(), static_cast<std::size_t>(end - begin));
            pool_.parallel_for(std::min(kItemsPerPiece, items - first), [&](std::int64_t i, int) {
                const std::int64_t size = std::min(item_bytes, end - begin - i * item_bytes);
                fill(piece.subspan(static_cast<std::size_t>(i * item_bytes), static_cast<std::size_t>(size)),
                     seed(first + i));
            });
            append(name, piece);
        }
    }

    // Norms near 1, the rest near 0; biases of the router small, so that no expert is preferred, unless that
    // is wanted.
    void write_floats(const TensorSpec& s) {
        const auto is = [&](std::string_view suffix) { return s.gguf.ends_with(suffix); };
        float centre = 0, reach = 0.5f;
        if (is("norm.weight") || is("engram_q.weight") || is("engram_k.weight")) centre = 1, reach = 0.2f;
        if (is("_scale.weight")) centre = 0.5f, reach = 0;
        if (is("exp_probs_b.bias")) reach = 0.02f;
        RandomBits random(seed(0));
        std::vector<float> values(static_cast<std::size_t>(s.rows * s.columns));
        if (is("exp_probs_b.bias") && options_.router_skew > 0)
            for (float& v : values) v = static_cast<float>(options_.router_skew * gaussian(random));
        else
            for (float& v : values)
                v = centre + reach * (static_cast<float>(random.next() >> 40) * 0x1p-23f - 1.0f);
        append(s.gguf, std::as_bytes(std::span(values)));
    }

    // The experts of a token: one from each k-th part of all of them, so that they differ.
    void write_table(const TensorSpec& s) {
        const auto k = static_cast<std::uint64_t>(s.columns),
                   experts = static_cast<std::uint64_t>(config_.experts);
        RandomBits random(seed(0));
        std::vector<std::int32_t> table;
        for (std::int64_t token = 0; token < s.rows; ++token)
            for (std::uint64_t i = 0; i < k; ++i) {
                const std::uint64_t begin = i * experts / k, end = (i + 1) * experts / k;
                table.push_back(static_cast<std::int32_t>(begin + one_of(end - begin, random)));
            }
        append(s.gguf, std::as_bytes(std::span(table)));
    }

    // With a skew the first ones more often: at 0.15 a tenth of them gets two fifths of the draws.
    std::uint64_t one_of(std::uint64_t n, RandomBits& random) const {
        if (options_.router_skew <= 0) return random.next() % n;
        const double place = std::pow(unit(random), 1 + 10 * options_.router_skew);
        return static_cast<std::uint64_t>(place * static_cast<double>(n));
    }

    static double unit(RandomBits& random) { return static_cast<double>(random.next() >> 11) * 0x1p-53; }
    static double gaussian(RandomBits& random) {  // Box and Muller
        const double radius = std::sqrt(-2 * std::log(1 - unit(random)));
        return radius * std::cos(2 * std::numbers::pi * unit(random));
    }

    std::uint64_t seed(std::int64_t item) const {
        return RandomBits::mix(RandomBits::mix(options_.seed + 1) ^ RandomBits::mix(tensor_ << 32) ^
                               static_cast<std::uint64_t>(item));
    }

    void append(const std::string& name, std::span<const std::byte> bytes) {
        writer_.append(name, bytes);
        done_ += bytes.size();
        if (progress_) progress_(done_, summary_.bytes);
    }

    const Config& config_;
    const SyntheticOptions& options_;
    const SyntheticProgress& progress_;
    GgufWriter writer_;
    ThreadPool pool_;
    std::vector<std::byte> piece_;
    std::size_t tensor_ = 0;
    std::uint64_t done_ = 0;
    SyntheticSummary summary_;
};

Config common_config(std::string_view name) {
    Config c;
    c.name = fmt::format("DeepSeek V4 {}, synthetic", name);
    c.vocab_size = 129280;
    c.context_length = 1048576;
    c.head_dim = 512;
    c.rope_dim = 64;
    c.output_lora_rank = 1024;
    c.sliding_window = 128;
    c.rope.yarn_factor = 16;
    c.index_heads = 64;
    c.index_head_dim = 128;
    c.experts_per_token = 6;
    c.shared_experts = 1;
    return c;
}

constexpr int kHashLayers = 3;
constexpr float kSwigluLimit = 10;

// What the real model has at 40 layers: two with their window only, rows of ratio 2 kept by every sixth layer
// up to the middle, and from there on rows of ratio 1 kept once, among which every fourth layer chooses anew.
std::vector<LayerShape> v41_plan(int layers) {
    const int middle = std::max(layers / 2, std::min(layers, 2));
    const int chosen_by = std::clamp((layers - middle) / 2, 1, 4);
    V41Layers plan;
    for (int l = 0; l < layers; ++l) plan.ratios.push_back(l < 2 ? 0 : l < middle ? 2 : 1);
    for (int l = 2; l < middle; l += 6) plan.kv_sources.push_back(l);
    plan.index_sources = plan.kv_sources;
    if (middle < layers) {
        plan.kv_sources.push_back(middle);
        plan.candidate_source = middle;
    }
    for (int l = middle; l < layers; l += chosen_by) plan.index_sources.push_back(l);
    for (const int l : {1, layers * 7 / 20})
        if (l < layers && (plan.engram.empty() || plan.engram.back() < l)) plan.engram.push_back(l);
    return v41_layers(plan, "the synthetic model");
}

Config v41_config(std::string_view name) {
    Config c = config_of(Architecture::v41);
    const bool tiny = name == "v41-tiny";
    c.name = fmt::format("DeepSeek {}, synthetic", name);
    c.vocab_size = tiny ? 1024 : 129280;
    c.context_length = tiny ? 65536 : 1048576;
    c.hidden_size = tiny ? 256 : 5120;
    c.heads = tiny ? 8 : 64;
    c.head_dim = tiny ? 128 : 512;
    c.rope_dim = 64;
    c.q_lora_rank = tiny ? 256 : 1280;
    c.output_groups = tiny ? 2 : 8;
    c.output_lora_rank = tiny ? 128 : 1024;
    c.sliding_window = 128;
    c.rope.yarn_factor = 16;
    c.norm_eps = 1e-20f;
    c.index_heads = tiny ? 4 : 32;
    c.index_head_dim = 128;
    c.index_top_k = tiny ? 8 : 512;
    c.candidate_blocks = tiny ? 4 : 2048;
    c.candidate_block_size = 8;
    c.experts = tiny ? 16 : 384;
    c.experts_per_token = tiny ? 3 : 6;
    c.shared_experts = 1;
    c.expert_hidden_size = tiny ? 256 : 2304;
    c.routed_scale = 1.5f;
    c.engram.longest = 4;
    c.engram.heads = tiny ? 2 : 8;
    c.engram.row_size = tiny ? 32 : 256;
    c.engram.pad_token = 2;
    c.engram.classes = tiny ? 969 : 99092;
    set_layers(c, tiny ? 8 : 40);
    set_engram(c, tiny ? 500 : 16'000'000);
    return c;
}

}  // namespace

Config known_config(std::string_view name) {
    if (name == "v41-flash" || name == "v41-tiny") return v41_config(name);
    Config c = common_config(name);
    if (name == "flash") {
        c.hidden_size = 4096;
        c.heads = 64;
        c.q_lora_rank = 1024;
        c.output_groups = 8;
        c.index_top_k = 512;
        c.experts = 256;
        c.expert_hidden_size = 2048;
        c.routed_scale = 1.5f;
        set_layers(c, std::array{0, 0});
        set_layers(c, 43);
    } else if (name == "pro") {
        c.hidden_size = 7168;
        c.heads = 128;
        c.q_lora_rank = 1536;
        c.output_groups = 16;
        c.index_top_k = 1024;
        c.experts = 384;
        c.expert_hidden_size = 3072;
        c.routed_scale = 2.5f;
        set_layers(c, std::array{128, 128});
        set_layers(c, 61);
    } else if (name == "tiny") {
        c.vocab_size = 1024;
        c.context_length = 65536;
        c.hidden_size = 256;
        c.heads = 8;
        c.head_dim = 128;
        c.q_lora_rank = 256;
        c.output_groups = 2;
        c.output_lora_rank = 128;
        c.index_heads = 4;
        c.index_top_k = 8;
        c.experts = 16;
        c.experts_per_token = 3;
        c.expert_hidden_size = 256;
        c.routed_scale = 1.5f;
        set_layers(c, std::array{0});
        set_layers(c, 4);
    } else {
        fail("unknown model '{}' (known: flash, pro, v41-flash, tiny, v41-tiny)", name);
    }
    return c;
}

void set_engram(Config& config, std::int64_t start) {
    EngramConfig& e = config.engram;
    if (!e.present()) return;
    derive_engram_hashes(e, start, "the synthetic model");
    e.rows.clear();
    for (int table = 0; table < static_cast<int>(e.layers.size()); ++table) {
        const auto primes = e.primes_of(table);
        e.rows.push_back(std::accumulate(primes.begin(), primes.end(), std::int64_t{0}));
    }
}

void set_layers(Config& config, int layers) {
    if (config.is_v41()) {
        config.layers = layers;
        config.layer_shapes = v41_plan(layers);
        config.swiglu_limit.assign(static_cast<std::size_t>(layers), kSwigluLimit);
        config.swiglu_limit_shared = config.swiglu_limit;
        const std::int64_t start = config.engram.primes.empty() ? 0 : config.engram.primes.front();
        config.engram.layers.clear();
        for (int l = 0; l < layers; ++l)
            if (config.shape(l).engram >= 0) config.engram.layers.push_back(l);
        if (start) set_engram(config, start);
        return;
    }
    std::vector<int> ratios;
    for (const LayerShape& shape : config.layer_shapes)
        if (std::ssize(ratios) < layers) ratios.push_back(shape.ratio);
    while (std::ssize(ratios) < layers) ratios.push_back(ratios.size() % 2 == 0 ? 4 : 128);
    set_layers(config, ratios);
}

void set_layers(Config& config, std::span<const int> ratios) {
    config.layers = static_cast<int>(ratios.size());
    config.layer_shapes = v4_layers(ratios, kHashLayers);
    config.swiglu_limit.assign(ratios.size(), kSwigluLimit);
    config.swiglu_limit_shared = config.swiglu_limit;
}

Config with_synthetic_classes(Config config) {
    EngramConfig& engram = config.engram;
    if (!engram.present()) return config;
    const Tokenizer tokenizer(synthetic_vocabulary(config.vocab_size), "the synthetic vocabulary");
    const auto classes = engram_classes(tokenizer);
    engram.classes = 1 + *std::ranges::max_element(classes);
    set_engram(config, engram.primes.front());
    return config;
}

int layers_of_every_kind(const Config& config) { return config.is_v41() ? 8 : 4; }

DType synthetic_type(const TensorSpec& s, const SyntheticOptions& options) {
    if (s.kind == Kind::integers) return DType::i32;
    if (s.kind == Kind::table) return DType::i8;
    if (s.kind == Kind::floats || s.gguf.find("hc_") != std::string::npos) return DType::f32;
    switch (s.role) {
        case Role::experts:
            return s.gguf.find("ffn_down") != std::string::npos ? options.down : options.gate_up;
        case Role::dense:
        case Role::shared_experts:
        case Role::embedding:
        case Role::head: return options.dense;
        case Role::engram:
        case Role::sensitive: break;
    }
    return DType::bf16;
}

SyntheticSummary write_synthetic(const Config& config, const SyntheticOptions& options,
                                 const std::filesystem::path& output, const SyntheticProgress& progress) {
    const Config fitted = with_synthetic_classes(config);
    validate(fitted, "the synthetic model");
    return Synthesizer(fitted, options, output, progress).run();
}

}  // namespace cachalot
