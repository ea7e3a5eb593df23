// One queue of reads for several owners, so that the classes of urgency order the reads of all of them: what
// somebody waits for is started before what another owner only plans.
//
// Each owner has a queue of his own to look at, and sees nothing of the others' reads: what finishes while
// another one waits is kept for its owner. All owners together are one thread at a time, as for any queue.
#pragma once

#include <memory>
#include <vector>

#include "file/read_queue.h"

namespace cachalot {

// The queue ends with the last of its shares.
std::vector<std::unique_ptr<ReadQueue>> share_queue(std::unique_ptr<ReadQueue> queue, std::size_t owners);

}  // namespace cachalot
