// A synthetic model in the layout of DeepSeek's releases: FP8 matrices and FP4 experts with their scales in
// tensors beside them, spread over several files with an index. For measuring conversion.
#pragma once

#include "model/synthetic.h"

namespace cachalot {

inline constexpr std::uint64_t kReleaseFileBytes = std::uint64_t(2) << 30;

// Writes the folder; files of at most `file_bytes` unless one tensor is larger. The same configuration and
// seed give the same bytes. `zero_tables`: as in SyntheticOptions. Throws Error.
SyntheticSummary write_synthetic_release(const Config& config, std::uint64_t seed,
                                         const std::filesystem::path& folder,
                                         const SyntheticProgress& progress = {},
                                         std::uint64_t file_bytes = kReleaseFileBytes,
                                         bool zero_tables = false);

}  // namespace cachalot
