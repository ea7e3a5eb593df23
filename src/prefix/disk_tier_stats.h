// What has become of the prefixes on disk so far.
#pragma once

#include <cstdint>

namespace cachalot {

struct DiskTierStats {
    std::int64_t bytes = 0;         // of records, now
    std::int64_t written = 0;       // snapshots
    std::int64_t skipped = 0;       // not written, because too much waited, or what they continue was gone
    std::int64_t evictions = 0;     // snapshots
    std::int64_t write_errors = 0;  // snapshots that could not be written
    std::int64_t read_errors = 0;   // records that were not what the index said
};

}  // namespace cachalot
