// What went through a cache of things that are read from disk: experts, or rows of Engram tables.
#pragma once

#include <cstdint>

namespace cachalot {

struct CacheTraffic {
    std::int64_t tokens = 0;  // evaluated
    std::uint64_t lookups = 0,
                  hits = 0;        // of things; one that several tokens of a pass need counts once
    std::uint64_t ahead = 0;       // not hits, but read before they were needed (of experts also: being read)
    std::uint64_t bytes_read = 0;  // from disk, in whole blocks
    double wait_seconds = 0;       // in which nothing could be computed
};

}  // namespace cachalot
