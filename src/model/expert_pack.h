// The routed experts of a model once more, each in one piece.
//
// In a GGUF file the three matrices of an expert lie in three tensors, hundreds of megabytes apart, and begin
// anywhere in a disk's block. In a pack an expert is one record of whole blocks, which is one run to read;
// packs on several disks share the work. The format, little-endian:
//
//     offset     bytes
//     0          8      CCPACK01
//     8          16     fingerprint of the model (fingerprint.h)
//     24         4      layers L
//     28         4      experts of a layer E
//     32         8      bytes of the whole file
//     40         112 L  for each layer: offset of its first record, bytes of a record, then for gate, its
//                       scales, up, its scales, down, its scales where each begins in a record and how many
//                       bytes it has (0, 0: there is none), all of them u64
//     40+112 L   16     XXH3-128 of all bytes before
//     ..                zeros to a multiple of 4,096
//     ..                the records, layer by layer and expert by expert, each a multiple of 4,096 bytes, its
//                       parts as they are in the model, at multiples of 64
//
// All of the header follows from the model. So whoever has the model knows what the header must be and takes
// no other: no number of a pack is ever believed.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "model/model.h"

namespace cachalot {

struct PackLayout {
    struct Layer {
        std::uint64_t offset = 0, stride = 0;  // of its first record; from one record to the next
        std::vector<std::uint64_t> parts;      // where each begins in a record, as in parts_of()
    };
    std::vector<Layer> layers;
    std::uint64_t header_bytes = 0, file_bytes = 0;
};

// Throws Error if the experts of a layer differ in their types.
PackLayout pack_layout(const Model& model);

// Where the pack of a model is looked for: beside it. "x.gguf" has "x.experts.pack", a directory
// "experts.pack" in it.
std::filesystem::path default_pack_path(const std::filesystem::path& model);

// Writes one; it appears as a whole or not at all. Throws Error.
using PackProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;
void write_pack(const Model& model, const std::filesystem::path& path, const PackProgress& progress = {});

class ExpertPack {
  public:
    // Throws Error naming the file if it is not the pack of this model, or cut off.
    ExpertPack(const Model& model, const std::filesystem::path& path);

    const MappedFile& file() const { return file_; }
    const PackLayout& layout() const { return layout_; }

  private:
    MappedFile file_;
    PackLayout layout_;
};

}  // namespace cachalot
