// Where the weights of the routed experts lie on disk, and how they lie in a slot of the cache.
//
// From the model's own files a part is read with the whole blocks that its first and last bytes are in. So it
// keeps its place within the first block, and with it the alignment that it has in the file:
//
//     slot  | gate | up | down |                each part: | block | block | ... | block |
//                                                              ^ first byte         ^ last byte
//
// Formats with scales of their own have six parts. From a pack (model/expert_pack.h) an expert is one run of
// blocks, and no longer than that.
//
// The same expert can be read from each of several packs and from the model's files. Packs take turns, by a
// hash of the expert's number; if one cannot be read the next one is asked, and the model's files last.
#pragma once

#include <memory>
#include <vector>

#include "experts/route_trace.h"
#include "file/block_reader.h"
#include "model/expert_pack.h"

namespace cachalot {

using ExpertPacks = std::vector<std::shared_ptr<const ExpertPack>>;

class ExpertRecords {
  public:
    // The model must outlive it. Throws Error if an expert's weights do not lie in the model's files.
    explicit ExpertRecords(const Model& model, ExpertPacks packs = {});

    // The shape of the model; the bytes of an expert are those that it takes in a slot and that are read for
    // it.
    const RouteHeader& header() const { return header_; }
    std::uint64_t slot_bytes() const { return header_.largest_expert(); }

    // Those that runs() are of, for a BlockReader.
    std::vector<const MappedFile*> files() const;

    const ExpertWeights& mapped(int layer, int expert) const;

    // From how many places an expert can be read. They are numbered in the order in which this expert is
    // asked for there.
    int sources() const { return static_cast<int>(packs_.size()) + 1; }

    // What has to be read to fill a slot; without one, where from.
    std::vector<BlockReader::Run> runs(int layer, int expert, int source, std::byte* slot) const;
    const char* run_name(int layer, int expert, int source, std::size_t run) const;  // "gate", "up", "down"

    // The weights when they are there.
    ExpertWeights in_slot(int layer, int expert, int source, std::byte* slot) const;

  private:
    const ExpertPack* pack(int layer, int expert, int source) const;  // null: the model's files
    std::vector<BlockReader::Run> runs_of_model(const ExpertWeights& mapped, std::byte* slot) const;

    const Model& model_;
    ExpertPacks packs_;
    RouteHeader header_;
};

}  // namespace cachalot
