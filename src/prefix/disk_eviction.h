// Which snapshots on disk go when there has to be room.
//
// The same rule as in memory (prefix_index.h): what is worth least goes first, and the worth of a snapshot is
//
//     clock at its last use + uses * tokens that would have to be computed again / bytes that go with it
//
// The tokens are those beyond the next shorter snapshot of the conversation; the bytes its own and those of
// the blocks that no other snapshot needs. So of a long conversation first the snapshots in its midst go,
// which hold little beside what the later ones hold, too, and what is not used for long goes in the end,
// however large.
#pragma once

#include <vector>

#include "prefix/disk_index.h"

namespace cachalot {

struct Eviction {
    std::vector<StoredBlock> blocks;
    std::vector<StoredSnapshot> snapshots;
    double clock = 0;  // from now on
};

// Blocks that no snapshot needs, and then snapshots until `bytes` are free or there are none. The block
// `wanted` (if there is one of that name) and those before it stay.
Eviction choose_eviction(const std::vector<StoredBlock>& blocks, const std::vector<StoredSnapshot>& snapshots,
                         const ChainKey& wanted, double clock, std::int64_t bytes);

}  // namespace cachalot
