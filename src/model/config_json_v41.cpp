// The keys that V4.1 adds. Drafter and pictures are optional: files that went through other tools may lack
// them, and the text model needs neither.
#include "model/config_json_v41.h"

namespace cachalot {
namespace {

using nlohmann::json;

// Beyond what any model could need; it keeps hostile numbers out of sums.
constexpr int kLargest = 1 << 30;

void read_engram(const JsonFields& text, std::string_view source, EngramConfig& e) {
    e.layers = text.integers("engram_layer_ids");
    if (!e.present()) return;
    const json& rows = text.get("engram_num_embeddings");
    if (!rows.is_array()) text.refuse("engram_num_embeddings", rows, "an array");
    for (const json& count : rows)
        e.rows.push_back(
            text.to_integer<std::int64_t>("engram_num_embeddings", count, 1, std::int64_t{1} << 40));
    e.longest = text.integer<int>("engram_max_ngram_size", 0, kLargest);
    e.heads = text.integer<int>("engram_n_heads", 0, kLargest);
    e.row_size = text.integer<int>("engram_head_dim", 0, kLargest);
    e.pad_token = text.integer<std::int32_t>("engram_pad_token_id", 0, kLargest);
    e.classes = text.integer<int>("engram_compressed_vocab_size", 0, kLargest);
    derive_engram_hashes(e, text.integer<std::int64_t>("engram_vocab_size", 0, kLargest), source);
}

void read_vision(const JsonFields& outer, std::string_view source, VisionConfig& v) {
    const json* object = outer.object("vision_config");
    if (!object) return;
    const JsonFields vision(*object, source, "vision_config.");
    const auto size = [&](const char* key) { return vision.integer<int>(key, 1, 1 << 20); };
    v.layers = vision.integer<int>("num_hidden_layers", 1, kMaxLayers);
    v.hidden_size = size("hidden_size");
    v.heads = size("num_attention_heads");
    v.inner_size = size("intermediate_size");
    v.patch_size = size("patch_size");
    v.downsample = size("downsample_ratio");
    v.max_tokens = size("max_image_tokens");
    v.min_pixels = vision.integer<std::int64_t>("min_pixels", 0, kLargest);
    v.max_aspect = vision.number_or("max_wh_ratio", 0);
    v.rope_theta = vision.number("rope_theta");
    v.token = outer.integer<std::int32_t>("image_token_id", 0, kLargest);
}

}  // namespace

void read_dspark(const JsonFields& text, int stages, Config& c) {
    DsparkConfig& d = c.dspark;
    if (!text.find("dspark_block_size") || stages < 1) return;
    d.stages = stages;
    d.block_size = text.integer<int>("dspark_block_size", 1, kMaxLayers);
    d.noise_token = text.integer<std::int32_t>("dspark_noise_token_id", 0, kLargest);
    d.target_layers = text.integers("dspark_target_layer_ids");
    d.markov_rank = text.integer<int>("dspark_markov_rank", 1, 1 << 16);
    d.experts = c.experts;
    d.experts_per_token = c.experts_per_token;
    if (!c.is_v41()) return;  // whose stages have experts like the layers
    d.experts = text.integer<int>("dspark_n_routed_experts", 1, 4096);
    d.experts_per_token = text.integer<int>("dspark_num_experts_per_tok", 1, d.experts);
}

V41Layers read_v41_layers(const JsonFields& text, std::vector<int> ratios) {
    V41Layers layers;
    layers.ratios = std::move(ratios);
    layers.kv_sources = text.integers("kv_source_layer_ids");
    layers.index_sources = text.integers("index_source_layer_ids");
    layers.engram = text.integers("engram_layer_ids");
    const json* source = text.find("candidate_source_layer_id");
    const bool negative = source && source->is_number_integer() && !source->is_number_unsigned();
    if (source && !negative)
        layers.candidate_source = text.to_integer<int>("candidate_source_layer_id", *source, 0, kMaxLayers);
    return layers;
}

void read_v41(const JsonFields& text, const JsonFields& outer, std::string_view source, Config& c) {
    read_engram(text, source, c.engram);
    for (const LayerShape& shape : c.layer_shapes) {
        if (shape.candidate_source < 0) continue;
        c.candidate_blocks = text.size("candidate_topk_blocks");
        c.candidate_block_size = text.size("candidate_block_size");
        break;
    }
    if (text.find("dspark_block_size"))
        read_dspark(text, text.integer<int>("num_nextn_predict_layers", 1, kMaxLayers), c);
    read_vision(outer, source, c.vision);
}

}  // namespace cachalot
