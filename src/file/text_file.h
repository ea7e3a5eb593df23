// Small text files (configuration, tokenizers, prompts) read whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace cachalot {

inline constexpr std::uintmax_t kMaxTextFile = std::uintmax_t(1) << 28;  // 256 MiB

// The bytes of a file, also of a pipe. Throws Error naming the path if it cannot be read or is larger than
// `limit`.
std::string read_text_file(const std::filesystem::path& path, std::uintmax_t limit = kMaxTextFile);

}  // namespace cachalot
