// The keys of deepseek41. llama.cpp's converter writes those of Engram (engram_keys.h) and nothing of the
// layers' sources and of candidates: which layers are sources shows in the tensors that they have, and of
// candidates its programs assume what the release has. We write all of it.
#include "model/config_gguf_v41.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/engram_keys.h"

namespace cachalot {
namespace {

// Of the release, for files that say nothing.
constexpr int kCandidateBlocks = 2048, kCandidateBlockSize = 8;

// The list under `name`, or the layers that have the tensor.
std::vector<int> sources(const Gguf& file, const GgufFields& fields, std::string_view name,
                         std::string_view tensor, std::size_t layers) {
    if (fields.has(name)) return fields.get<std::vector<std::int32_t>>(name);
    std::vector<int> found;
    for (std::size_t l = 0; l < layers; ++l)
        if (file.contains(fmt::format("blk.{}.{}", l, tensor))) found.push_back(static_cast<int>(l));
    return found;
}

// The last layer that keeps rows, if more than one layer chooses among them.
int usual_candidate_source(const V41Layers& layers) {
    if (layers.kv_sources.empty() || layers.index_sources.empty()) return -1;
    const int last = layers.kv_sources.back();
    const bool chooses = std::find(layers.index_sources.begin(), layers.index_sources.end(), last) !=
                         layers.index_sources.end();
    return chooses && layers.index_sources.back() > last ? last : -1;
}

}  // namespace

V41Layers read_v41_layers(const Gguf& file, const GgufFields& fields, std::vector<int> ratios) {
    V41Layers layers;
    layers.ratios = std::move(ratios);
    const std::size_t count = layers.ratios.size();
    layers.kv_sources =
        sources(file, fields, "attention.kv_source_layers", "attn_compressor_kv.weight", count);
    layers.index_sources =
        sources(file, fields, "attention.index_source_layers", "indexer.attn_q_b.weight", count);
    layers.candidate_source =
        fields.get_or<std::int32_t>("attention.candidate_source_layer", usual_candidate_source(layers));
    if (fields.has("engram.layer_ids"))
        layers.engram = fields.get<std::vector<std::int32_t>>("engram.layer_ids");
    return layers;
}

void read_v41(const GgufFields& fields, Config& c) {
    read_engram_keys(fields, c);
    const bool candidates = std::any_of(c.layer_shapes.begin(), c.layer_shapes.end(),
                                        [](const LayerShape& s) { return s.candidate_source >= 0; });
    if (candidates) {
        c.candidate_blocks = fields.get_or<std::int32_t>("attention.candidate_topk_blocks", kCandidateBlocks);
        c.candidate_block_size =
            fields.get_or<std::int32_t>("attention.candidate_block_size", kCandidateBlockSize);
    }
    c.fp8_block = c.activation_group = fields.get_or<std::int32_t>("fp8_block", c.fp8_block);
}

void write_v41(const Config& c, const std::string& prefix, GgufWriter& writer) {
    std::vector<std::int32_t> kv, index;
    int candidates = -1;
    for (int l = 0; l < c.layers; ++l) {
        if (c.shape(l).kv_source == l) kv.push_back(l);
        if (c.shape(l).indexer) index.push_back(l);
        candidates = std::max(candidates, c.shape(l).candidate_source);
    }
    const auto size = [&](std::string_view name, int value) {
        writer.set<std::uint32_t>(prefix + std::string(name), static_cast<std::uint32_t>(value));
    };
    writer.set_array<std::int32_t>(prefix + "attention.kv_source_layers", kv);
    writer.set_array<std::int32_t>(prefix + "attention.index_source_layers", index);
    writer.set<std::int32_t>(prefix + "attention.candidate_source_layer", candidates);
    if (candidates >= 0) {
        size("attention.candidate_topk_blocks", c.candidate_blocks);
        size("attention.candidate_block_size", c.candidate_block_size);
    }
    size("fp8_block", c.fp8_block);
    write_engram_keys(c.engram, prefix, writer);
}

}  // namespace cachalot
