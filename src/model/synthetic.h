// Models of true shape with random weights: what speed is measured with when the real model is not at hand.
//
// A synthetic model costs exactly what the real one costs: same widths, same layer kinds, same formats.
// Experts are chosen evenly, or with a skew like that of real routers; but one token's choices tell nothing
// of the next one's. Its weights are scaled so that activations keep about their size from layer to layer,
// and its text is noise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "model/config.h"
#include "model/model_tensors.h"
#include "tensor/dtype.h"

namespace cachalot {

// The configuration of "flash" (43 layers), "pro" (61) or "v41-flash" (40), or of "tiny" and "v41-tiny":
// every part in a few megabytes, for tests. Throws Error for another name.
Config known_config(std::string_view name);

// The first `layers` layers; beyond the real model's the alternation of CSA and HCA goes on. Of V4.1 as many
// layers as that in the proportions of the real model: from eight on there is every kind of them.
void set_layers(Config& config, int layers);
// Engram tables of V4.1 with primes from `start` on, 16,000,000 in the real model.
void set_engram(Config& config, std::int64_t start);
// Layers of these compression ratios (layer_shape.h).
void set_layers(Config& config, std::span<const int> ratios);
// The same with as many classes of tokens (model/engram_classes.h) as the made-up vocabulary has: what is
// written, as tables are looked up by classes.
Config with_synthetic_classes(Config config);
// The least number of layers, for set_layers(), with every kind of them that the real model has: of V4.1
//
//     layer  0       1                2                 3             4           5     6         7
//            window  window, Engram   ratio 2: source,  ratio 2:      ratio 1:    as 3  ratio 1:  as 5
//                                     choice, Engram    as layer 2    source, candidates  choice
//
// and of V4 window or HCA, CSA, HCA, with a layer whose experts are scored.
int layers_of_every_kind(const Config& config);

struct SyntheticOptions {
    DType gate_up = DType::mxfp4, down = DType::mxfp4;  // routed experts
    DType dense = DType::q8_0;  // attention projections, shared experts, token embedding and head
    // How unevenly experts are chosen: the standard deviation of the routers' biases, which are added to
    // affinities of about 0.8 +- 0.25; tables prefer some experts likewise. 0: evenly.
    double router_skew = 0;
    std::uint64_t seed = 1;
    int threads = 0;           // 0: one per available core
    bool zero_tables = false;  // Engram tables are zeros, which take no space where files can have holes
};

// The type of a tensor in the file that write_synthetic() makes.
DType synthetic_type(const TensorSpec& spec, const SyntheticOptions& options);

struct SyntheticSummary {
    std::uint64_t bytes = 0;  // size of the file
    std::uint64_t holes = 0;  // of it zeros that were not written
    int tensors = 0;
};

using SyntheticProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Writes a GGUF file through a few megabytes of memory. The same configuration, types and seed give the same
// bytes. Router, compressors and indexer are BF16, everything small F32, as in files converted from a
// release. Throws Error, naming the tensor if its width does not suit its type.
SyntheticSummary write_synthetic(const Config& config, const SyntheticOptions& options,
                                 const std::filesystem::path& output, const SyntheticProgress& progress = {});

}  // namespace cachalot
