// How much memory rows of Engram tables may take, as people write it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cachalot {

// Bytes of a cache of rows, for tables of `table_bytes` in all: of "8GB" or "1%"; 0 of "off", when every row
// is read from the disk each time. None: the tables stay in memory, of "all" and of any size that they fit
// into. Throws Error, starting with `option`, for anything else.
std::optional<std::uint64_t> engram_budget(std::string_view text, std::uint64_t table_bytes,
                                           std::string_view option);

}  // namespace cachalot
