// The keys of deepseek41. llama.cpp's converter writes those of Engram (layer_ids, head_count, key_length,
// max_ngram_size, primes, multipliers, offsets, token_map, pad_id) and nothing of the layers' sources and of
// candidates: which layers are sources shows in the tensors that they have, and of candidates its programs
// assume what the release has. We write all of it.
#include "model/config_gguf_v41.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"

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

template <class To, class From>
std::vector<To> numbers(const std::vector<From>& values, std::string_view what) {
    std::vector<To> result;
    for (const From value : values) result.push_back(checked_cast<To>(value, what));
    return result;
}

void read_engram(const GgufFields& fields, EngramConfig& e) {
    if (!fields.has("engram.layer_ids")) return;
    e.layers = fields.get<std::vector<std::int32_t>>("engram.layer_ids");
    if (!e.present()) return;
    e.heads = fields.size("engram.head_count");
    e.row_size = fields.size("engram.key_length");
    e.longest = fields.size("engram.max_ngram_size");
    e.primes = fields.get<std::vector<std::int64_t>>("engram.primes");
    e.multipliers = fields.get<std::vector<std::int64_t>>("engram.multipliers");
    e.pad_token = fields.get_or<std::int32_t>("engram.pad_token_id", 2);
    e.pad_class = fields.get_or<std::int32_t>("engram.pad_id", -1);
    e.classes = fields.get_or<std::int32_t>("engram.compressed_vocab_size", 0);
    // A table has a row for each remainder; how many primes there are is for validate_engram() to say.
    const std::size_t each = e.primes.size() / e.layers.size();
    for (std::size_t i = 0; i < e.layers.size(); ++i) {
        std::int64_t rows = 0;
        for (std::size_t p = i * each; p < (i + 1) * each; ++p)
            rows = checked_add(rows, e.primes[p], "rows of an Engram table");
        e.rows.push_back(rows);
    }
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
    read_engram(fields, c.engram);
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
    const EngramConfig& e = c.engram;
    writer.set_array<std::int32_t>(prefix + "engram.layer_ids", e.layers);
    if (!e.present()) return;
    size("engram.head_count", e.heads);
    size("engram.key_length", e.row_size);
    size("engram.max_ngram_size", e.longest);
    size("engram.pad_token_id", e.pad_token);
    if (e.pad_class >= 0) size("engram.pad_id", e.pad_class);
    if (e.classes) size("engram.compressed_vocab_size", e.classes);
    std::vector<std::uint64_t> offsets;  // of each prime's rows in its table
    for (std::size_t i = 0; i < e.layers.size(); ++i) {
        std::uint64_t offset = 0;
        for (const std::int64_t prime : e.primes_of(static_cast<int>(i))) {
            offsets.push_back(offset);
            offset += static_cast<std::uint64_t>(prime);
        }
    }
    writer.set_array<std::uint64_t>(prefix + "engram.primes", numbers<std::uint64_t>(e.primes, "primes"));
    writer.set_array<std::uint64_t>(prefix + "engram.multipliers",
                                    numbers<std::uint64_t>(e.multipliers, "multipliers"));
    writer.set_array<std::uint64_t>(prefix + "engram.offsets", offsets);
}

}  // namespace cachalot
