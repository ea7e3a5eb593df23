#include "model/source_tensors.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"

namespace cachalot {
namespace {

// What only some layers have, and one tensor that shows it: in GGUF files, which have two names for one, and
// in releases.
struct Source {
    const char* what;
    const char* list;  // of the layers that have it
    bool (*has)(const LayerShape& shape, int layer);
    std::array<const char*, 3> tensors;
};

constexpr Source kSources[] = {
    {"an Engram table",
     "engram_layer_ids",
     [](const LayerShape& s, int) { return s.engram >= 0; },
     {"blk.{}.engram_wkv.weight", "blk.{}.engram_kv.weight", "layers.{}.engram.wkv.weight"}},
    {"compressed rows",
     "kv_source_layer_ids",
     [](const LayerShape& s, int l) { return s.kv_source == l; },
     {"blk.{}.attn_compressor_kv.weight", "layers.{}.attn.compressor.wkv.weight", ""}},
    {"an indexer",
     "index_source_layer_ids",
     [](const LayerShape& s, int) { return s.indexer; },
     {"blk.{}.indexer.attn_q_b.weight", "layers.{}.attn.indexer.wq_b.weight", ""}}};

}  // namespace

void check_source_tensors(const TensorFile& file, const Config& config) {
    if (!config.is_v41()) return;
    for (int layer = 0; layer < config.layers; ++layer)
        for (const Source& source : kSources) {
            if (source.has(config.shape(layer), layer)) continue;
            for (const char* tensor : source.tensors)
                if (const auto name = fmt::format(fmt::runtime(tensor), layer); file.contains(name))
                    fail(
                        "{}: tensor {} gives layer {} {}, but the configuration does not (its list {}): "
                        "they belong to different models",
                        file.source(), name, layer, source.what, source.list);
        }
}

}  // namespace cachalot
