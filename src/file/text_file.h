// Small text files (configuration, tokenizers, prompts) read whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace cachalot {

inline constexpr std::uintmax_t kMaxTextFile = std::uintmax_t(1) << 28;  // 256 MiB

// The bytes of a regular file, such as those that lie in a folder of which only the folder was named. Throws
// Error naming the path if it is no such file, cannot be read or is larger than `limit`.
std::string read_text_file(const std::filesystem::path& path, std::uintmax_t limit = kMaxTextFile);

// The bytes of what the user has named to be read, which may also be a pipe or a terminal: then this waits
// until its end, and whoever never ends is larger than `limit`. Throws Error as above.
std::string read_text_input(const std::filesystem::path& path, std::uintmax_t limit = kMaxTextFile);

}  // namespace cachalot
