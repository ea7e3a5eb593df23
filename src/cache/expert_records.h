// Where the weights of the routed experts lie in the model's files, and how they lie in a slot of the cache:
//
//     slot  | gate | up | down |                each part: | block | block | ... | block |
//                                                              ^ first byte         ^ last byte
//
// A part is read with the whole blocks that its first and last bytes are in. So it keeps its place within the first
// block, and with it the alignment that it has in the file. Formats with scales of their own have six parts.
#pragma once

#include <vector>

#include "cache/route_trace.h"
#include "file/block_reader.h"
#include "model/model.h"

namespace cachalot {

class ExpertRecords {
  public:
    // The model must outlive it. Throws Error if an expert's weights do not lie in the model's files.
    explicit ExpertRecords(const Model& model);

    // The shape of the model; the bytes of an expert are those that it takes in a slot and that are read for it.
    const RouteHeader& header() const { return header_; }
    std::uint64_t slot_bytes() const { return header_.largest_expert(); }

    // Those that runs() are of, for a BlockReader.
    std::vector<const MappedFile*> files() const;

    const ExpertWeights& mapped(int layer, int expert) const;

    // What has to be read to fill a slot; without one, where from.
    std::vector<BlockReader::Run> runs(const ExpertWeights& mapped, std::byte* slot) const;
    static const char* part_name(const ExpertWeights& mapped, std::size_t run);  // "gate", "up", "down"

    // The weights when they are there.
    ExpertWeights in_slot(const ExpertWeights& mapped, std::byte* slot) const;

  private:
    const Model& model_;
    RouteHeader header_;
};

}  // namespace cachalot
